package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"commerce.example/coordinator/supervisor/fallback"
)

// FallbackFigures are what a drill saw of the fallbacks of a bulkhead.
type FallbackFigures struct {
	Share  float64 `json:"share"`           // of its GET requests that were looked at, 0 to 1
	Given  bool    `json:"given"`           // clients got the fallbacks
	Wanted float64 `json:"wanted_coverage"` // 0 to 1

	Asked    int                   `json:"asked"`    // requests that were looked at, with a live answer below 500
	Covered  map[fallback.Kind]int `json:"covered"`  // of them, by the kind that would have been given
	Missing  map[string]int        `json:"missing"`  // the rest, by the reason: MissingNotSeen, MissingNotPrepared or one of stale.Whys
	Coverage *float64              `json:"coverage"` // of those asked but for MissingNotSeen, 0 to 1; null: there were none

	Ages map[fallback.Kind]FallbackAge `json:"ages"` // of those covered

	Compared    int                `json:"compared"`     // with the live answer
	NotCompared map[Uncompared]int `json:"not_compared"` // of those covered
	Drifted     int                `json:"drifted"`      // of those compared: another status, media type or JSON shape
	Drifts      []string           `json:"drifts"`       // the most frequent ten, in words, without values
	LiveBytes   float64            `json:"live_bytes"`   // mean size of those compared, as sent
	StoredBytes float64            `json:"stored_bytes"` // of the fallbacks
}

// FallbackAge is how old the answers of one kind were.
type FallbackAge struct {
	P50Seconds float64 `json:"p50_s"`
	MaxSeconds float64 `json:"max_s"`
}

const (
	// drillDriftShare of the compared may differ: data alone can look like it, an
	// order that was deleted or an element with an optional member.
	drillDriftShare = 0.01
	driftsShown     = 10
	driftWidth      = 200
)

// figures are those of all that has ended; after stop.
func (r *rehearsal) figures(wanted float64) *FallbackFigures {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &FallbackFigures{
		Share: r.share, Given: r.give, Wanted: wanted,
		Asked: r.asked, Covered: maps.Clone(r.covered), Missing: maps.Clone(r.missing), Ages: make(map[fallback.Kind]FallbackAge),
		Compared: r.compared, NotCompared: maps.Clone(r.skipped), Drifted: r.drifted, Drifts: r.frequent(),
	}
	covered := 0
	for kind, n := range r.covered {
		covered += n
		f.Ages[kind] = FallbackAge{inSeconds(r.ages[kind].median()), inSeconds(r.ages[kind].max)}
	}
	if repeated := r.asked - r.missing[MissingNotSeen]; repeated > 0 {
		f.Coverage = new(float64(covered) / float64(repeated))
	}
	if n := float64(r.compared); n > 0 {
		f.LiveBytes, f.StoredBytes = float64(r.bytes.live)/n, float64(r.bytes.fallback)/n
	}
	return f
}

func inSeconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// frequent is the most frequent drifts, with mu held.
func (r *rehearsal) frequent() []string {
	lines := slices.SortedFunc(maps.Keys(r.drifts), func(a, b string) int {
		if r.drifts[a] != r.drifts[b] {
			return r.drifts[b] - r.drifts[a]
		}
		return strings.Compare(a, b)
	})
	shown := []string{}
	for _, line := range lines[:min(driftsShown, len(lines))] {
		shown = append(shown, fmt.Sprintf("%s (%d)", strings.ToValidUTF8(line[:min(driftWidth, len(line))], ""), r.drifts[line]))
	}
	return shown
}

// fallbacks judges a rehearsal. Nothing is broken in it, so the bulkhead has to be
// as well as its siblings. Findings, which are logged, name no member of an answer.
func (j *drillJudge) fallbacks() {
	f := j.r.Fallback
	j.unhurt(append([]DrillFigures{j.r.Drilled}, j.r.Siblings...))
	if j.r.RecoveredMS == nil {
		j.breaks("%s is not as it was before; coordinator status says how it is", j.r.Drilled.Name)
	}
	switch repeated := f.Asked - f.Missing[MissingNotSeen]; {
	case repeated < drillFewest:
		j.doubts("%s of those looked at were repeated, %d are needed to judge by: a longer drill or a greater share has more",
			plural(repeated, "request"), drillFewest)
	case *f.Coverage < f.Wanted:
		j.breaks("%.1f %% of the repeated requests would have been answered, %.1f %% are wanted", 100**f.Coverage, 100*f.Wanted)
	case f.Compared == 0:
		j.doubts("no fallback could be compared with its live answer")
	}
	switch {
	case f.Drifted == 0:
	case float64(f.Drifted) > drillDriftShare*float64(f.Compared):
		j.breaks("%d of %s compared differ in status, media type or shape", f.Drifted, plural(f.Compared, "fallback"))
	default:
		j.notes("%d of %s compared differ in status, media type or shape: too few to be more than data", f.Drifted, plural(f.Compared, "fallback"))
	}
}
