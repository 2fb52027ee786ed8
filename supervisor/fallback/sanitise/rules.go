package sanitise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

const (
	// RunTime bounds how long rules compute on one answer.
	RunTime = 5 * time.Second
	// MaxBody bounds a body, in bytes, before the rules and after.
	MaxBody = 1 << 20
)

// Rules are a program with what it lets stand.
type Rules struct {
	code  *gojq.Code
	allow []allowance
	text  []string // names of files
}

// An Answer is what is to be kept.
type Answer struct {
	File    string // its name
	Pattern string // the requests that it is for
	Header  http.Header
	JSON    bool // what the body is, else text
	Body    []byte
	// Private is what must not be in it, without regard to case: what the request
	// was made for, or with. Texts of less than three characters, and numbers of
	// less than five digits, are not looked for: they are everywhere.
	Private []string
}

// A Finding is something that looks like somebody's.
type Finding struct {
	Place    string   `json:"place"` // file, pattern, field:NAME, text, or a path such as .results[0].email
	Detector Detector `json:"detector"`
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Place, f.Detector) }

// Parse reads rules. The error has a line for each mistake, which begins with name
// and the number of the line.
func Parse(name, text string) (*Rules, error) {
	r := new(Rules)
	var mistakes []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		directive, is := strings.CutPrefix(strings.TrimSpace(line), "#:")
		if !is {
			continue
		}
		if err := r.read(strings.Fields(directive)); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, number, err))
		}
	}
	if err := r.compile(text); err != nil {
		line := 1
		if syntax, ok := errors.AsType[*gojq.ParseError](err); ok {
			line += strings.Count(text[:min(syntax.Offset, len(text))], "\n")
		}
		mistakes = append(mistakes, fmt.Errorf("%s:%d: %w; want a jq program", name, line, err))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return r, nil
}

func (r *Rules) read(words []string) error {
	switch {
	case len(words) == 3 && words[0] == "allow":
		a, err := parseAllowance(words[1], words[2])
		r.allow = append(r.allow, a)
		return err
	case len(words) == 2 && words[0] == "text":
		r.text = append(r.text, words[1])
		return nil
	}
	return errors.New("want #:allow DETECTOR PLACE or #:text FILE")
}

func (r *Rules) compile(text string) error {
	query, err := gojq.Parse(text)
	if err != nil {
		return err
	}
	r.code, err = gojq.Compile(query, gojq.WithVariables([]string{"$file"}))
	return err
}

// Apply is the body of a that is kept, or what was found in it that must not be; then
// there is no body. Its error is that there is nothing to be kept, for a reason
// that has nothing of the body in it.
func (r *Rules) Apply(ctx context.Context, a Answer) ([]byte, []Finding, error) {
	in, err := r.decode(a)
	if err != nil {
		return nil, nil, err
	}
	var out any
	var body []byte
	if in != nil {
		if out, err = r.run(ctx, a.File, in.value); err != nil {
			return nil, nil, err
		}
		if body, err = encode(out, a.JSON); err != nil {
			return nil, nil, err
		}
	}
	if findings := r.scan(a, in != nil, out); len(findings) > 0 {
		return nil, findings, nil
	}
	return body, nil, nil
}

// Inspect is what the detectors find in a as it is, without the program: what is
// kept already, or was written by hand.
func (r *Rules) Inspect(a Answer) ([]Finding, error) {
	in, err := r.decode(a)
	switch {
	case err != nil:
		return nil, err
	case in == nil:
		return r.scan(a, false, nil), nil
	}
	return r.scan(a, true, in.value), nil
}

func (r *Rules) scan(a Answer, hasBody bool, body any) []Finding {
	s := scan{allow: r.allow, private: privates(a.Private)}
	s.text("file", a.File)
	s.text("pattern", a.Pattern)
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		for _, value := range a.Header[name] {
			s.text("field:"+name, value)
		}
	}
	switch {
	case !hasBody:
	case a.JSON:
		s.value(nil, body, false)
	default:
		s.text("text", body.(string))
	}
	return s.findings
}

// A document is a decoded body; its value may be nil, which is null.
type document struct{ value any }

// decode is the body as the rules see it; nil for none.
func (r *Rules) decode(a Answer) (*document, error) {
	switch {
	case len(a.Body) > MaxBody:
		return nil, fmt.Errorf("more than %d bytes; want at most so many", MaxBody)
	case len(a.Body) == 0:
		return nil, nil
	case !utf8.Valid(a.Body):
		return nil, errors.New("the body is not UTF-8; want text that can be reviewed")
	case !a.JSON && slices.Contains(r.text, a.File):
		return &document{string(a.Body)}, nil
	case !a.JSON:
		return nil, fmt.Errorf("the body is not JSON; want that, or the line #:text %s in the rules", a.File)
	}
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.UseNumber()
	var in document
	if d.Decode(&in.value) != nil { // its error would show some of the body
		return nil, errors.New("the body is not the JSON that its Content-Type says")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the body is more than one JSON value")
	}
	return &in, nil
}

func (r *Rules) run(ctx context.Context, file string, in any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, RunTime)
	defer cancel()
	results := r.code.RunWithContext(ctx, in, file)
	out, ok := results.Next()
	if !ok {
		return nil, errors.New("the rules give nothing; want one value")
	}
	if err, failed := out.(error); failed {
		return nil, explain(ctx, err)
	}
	if _, more := results.Next(); more {
		return nil, errors.New("the rules give more than one value; want one")
	}
	return out, nil
}

// explain is what may be said of an error of jq, which has the value at fault
// behind its first words.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the rules: %w after at most %s", ctx.Err(), RunTime)
	}
	var raised gojq.ValueError
	if errors.As(err, &raised) {
		return errors.New("the rules gave up on this body by error or halt_error")
	}
	what := err.Error()
	if i := strings.IndexAny(what, "(\"'[{<0123456789"); i >= 0 {
		what = what[:i]
	}
	return fmt.Errorf("the rules fail on this body: %s", strings.TrimRight(what, " :"))
}

func encode(out any, asJSON bool) (body []byte, err error) {
	text, isText := out.(string)
	switch {
	case asJSON:
		if body, err = gojq.Marshal(out); err != nil {
			return nil, errors.New("the rules give what is no JSON")
		}
	case isText:
		body = []byte(text)
	default:
		return nil, errors.New("the rules give no string for a text; want one")
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("the rules give more than %d bytes; want at most so many", MaxBody)
	}
	return body, nil
}
