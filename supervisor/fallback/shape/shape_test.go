package shape_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/shape"
)

func TestDrift(t *testing.T) {
	for _, test := range []struct {
		stored, live string
		want         []string
	}{
		{`{"a": 1}`, `{"a": 2}`, nil},
		{`{"a": 1}`, `{"a": "1"}`, []string{".a was number and is string"}},
		{`{"a": 1}`, `{}`, []string{".a was number and is gone"}},
		{`{}`, `{"a": [true]}`, []string{".a is new, array"}},
		{`{"a": 1}`, `{"a": null}`, []string{".a was number and is null"}},
		{`{"a": null}`, `{"a": 1}`, nil},
		{`[{"a": 1}, {"a": null}]`, `[{"a": null}]`, nil},
		{`{"a": [1]}`, `{"a": []}`, nil},
		{`[{"a": 1}, {}]`, `[{}]`, nil},
		{`[{"a": 1}, {"a": 2}]`, `[{"b": 1}]`, []string{"[].a was number and is gone", "[].b is new, number"}},
		{`{"a": {"b": 1}}`, `{"a": [1]}`, []string{".a was object and is array"}},
		{`{}`, `[]`, []string{". was object and is array"}},
		{``, ``, nil},
	} {
		stored, errStored := shape.Of([]byte(test.stored))
		live, errLive := shape.Of([]byte(test.live))
		if got := shape.Drift(stored, live); errStored != nil || errLive != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s, %s: %q, %v, %v; want %q", test.stored, test.live, got, errStored, errLive, test.want)
		}
	}
}

// Nothing that a backend sends makes a shape that costs much.
func TestBounds(t *testing.T) {
	var many strings.Builder
	for i := range shape.MaxPaths {
		fmt.Fprintf(&many, `"%d":0,`, i)
	}
	for name, text := range map[string]string{
		"many":      "{" + many.String() + `"last":0}`,
		"long":      `{"` + strings.Repeat("a", shape.MaxPath) + `":0}`,
		"deep":      strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"in others": `{"a":[{"` + strings.Repeat("a", shape.MaxPath) + `":0}]}`,
	} {
		if s, err := shape.Of([]byte(text)); !errors.Is(err, shape.ErrTooVaried) || s != nil {
			t.Errorf("%s: %d paths, %v", name, len(s), err)
		}
	}
	if s, err := shape.Of([]byte("[" + strings.Repeat(`{"a":0},`, 50_000) + `{"a":0}]`)); err != nil || len(s) != 3 {
		t.Errorf("many of the same: %d paths, %v", len(s), err)
	}
	if _, err := shape.Of([]byte("{")); err == nil || errors.Is(err, shape.ErrTooVaried) {
		t.Errorf("no JSON: %v", err)
	}
}

func FuzzDrift(f *testing.F) {
	f.Add([]byte(`{"count":1,"results":[{"number":"a"}]}`), []byte(`{"count":null,"results":[]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		stored, err := shape.Of(a)
		if err != nil {
			return
		}
		if lines := shape.Drift(stored, stored); len(lines) != 0 {
			t.Errorf("%q drifts from itself: %q", a, lines)
		}
		if live, err := shape.Of(b); err == nil {
			shape.Drift(stored, live)
		}
	})
}
