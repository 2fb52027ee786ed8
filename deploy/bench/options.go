package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parts of a round.
const (
	partClosed = "closed"
	partOpen   = "open"
	partStream = "stream"
	partIdle   = "idle"
	partRoutes = "routes"
)

var allParts = []string{partClosed, partOpen, partStream, partIdle, partRoutes}

// options are what the flags say.
type options struct {
	rounds  int
	each    time.Duration // of one run of load
	systems []string
	parts   []string
	sizes   []int64
	conns   []int
	body    int64 // of a stream
	idle    int
	out     string
}

func (o *options) has(part string) bool { return slices.Contains(o.parts, part) }

// saturated is the number of connections of the closed loop whose rate the open
// one halves: 64, or else the one nearest to it that there is.
func (o *options) saturated() int {
	return slices.MinFunc(o.conns, func(a, b int) int { return max(a-64, 64-a) - max(b-64, 64-b) })
}

// quick is what --quick stands for, where a flag does not say otherwise.
var quick = map[string]string{
	"rounds": "1", "for": "1s", "systems": "reverseproxy,coordinator", "parts": "closed,open", "sizes": "512", "conns": "64",
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // an error is reported once, by run
	f.IntVar(&o.rounds, "rounds", 5, "how often all is measured")
	f.DurationVar(&o.each, "for", 3*time.Second, "how long each load lasts")
	listFlag(f, &o.systems, "systems", names(), "the systems", func(s string) (string, error) { return oneOf(s, names()) })
	listFlag(f, &o.parts, "parts", allParts, "what is measured", func(s string) (string, error) { return oneOf(s, allParts) })
	listFlag(f, &o.sizes, "sizes", []string{"512", "16KiB", "1MiB"}, "bytes of an answer", bytesOf)
	listFlag(f, &o.conns, "conns", []string{"1", "64", "1000"}, "connections of the closed loop", countOf)
	stream := f.String("stream", "1GiB", "bytes of the body that is streamed")
	f.IntVar(&o.idle, "idle", 10_000, "connections that are kept open")
	f.StringVar(&o.out, "out", "", "write the results to `FILE` too, as Markdown")
	isQuick := f.Bool("quick", false, "one short round of two systems")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(stderr)
			f.PrintDefaults()
		}
		return nil, err
	}
	if *isQuick {
		given := map[string]bool{}
		f.Visit(func(flag *flag.Flag) { given[flag.Name] = true })
		for name, value := range quick {
			if !given[name] {
				if err := f.Set(name, value); err != nil {
					return nil, err
				}
			}
		}
	}
	var err error
	o.body, err = bytesOf(*stream)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--stream: %w", err)
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q: want flags only", f.Arg(0))
	case o.rounds < 1 || o.rounds > 100:
		return nil, errors.New("--rounds: want 1 to 100")
	case o.each < 100*time.Millisecond || o.each > 10*time.Minute:
		return nil, errors.New("--for: want 100ms to 10m")
	case o.idle < 1 || o.idle > 10_000:
		return nil, errors.New("--idle: want 1 to 10000")
	case !slices.Contains(o.systems, coordinatorName):
		return nil, errors.New("--systems: want the coordinator among them, which the others are compared with")
	}
	return o, nil
}

// listFlag is a flag with values between commas, each of which parse takes.
func listFlag[T comparable](f *flag.FlagSet, into *[]T, name string, otherwise []string, usage string, parse func(string) (T, error)) {
	set := func(text string) error {
		*into = nil
		for item := range strings.SplitSeq(text, ",") {
			v, err := parse(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			if !slices.Contains(*into, v) {
				*into = append(*into, v)
			}
		}
		return nil
	}
	list := strings.Join(otherwise, ",")
	if err := set(list); err != nil {
		panic(err) // the default itself is wrong
	}
	f.Func(name, fmt.Sprintf("%s, between commas (default %s)", usage, list), set)
}

func oneOf(word string, words []string) (string, error) {
	if slices.Contains(words, word) {
		return word, nil
	}
	return "", fmt.Errorf("want some of %s", strings.Join(words, ","))
}

func countOf(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 10_000 {
		return 0, errors.New("want 1 to 10000")
	}
	return n, nil
}

// bytesOf is a size from 1 byte to 64 GiB, such as 512, 16KiB, 1MiB or 1GiB.
func bytesOf(text string) (int64, error) {
	unit := int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = digits, bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > 64<<30/unit {
		return 0, errors.New("want a size such as 512, 16KiB, 1MiB or 1GiB")
	}
	return n * unit, nil
}

// sizeText is a size as bytesOf takes it.
func sizeText(n int64) string {
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + " " + unit.suffix
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
