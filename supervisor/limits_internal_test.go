package supervisor

import (
	"testing"

	"commerce.example/coordinator/supervisor/adaptive"
)

// What counts for an adaptive limit: too much, the time that an answer took, or
// nothing.
func TestResults(t *testing.T) {
	for status, want := range map[int]adaptive.Result{
		200: adaptive.Served, 304: adaptive.Served, 404: adaptive.Served, 429: adaptive.Overloaded, 500: adaptive.Ignored,
		502: adaptive.Ignored, 503: adaptive.Overloaded, 504: adaptive.Overloaded,
	} {
		if got := resultOf(status); got != want {
			t.Errorf("%d: %d, want %d", status, got, want)
		}
	}
	for _, reason := range append(Reasons(), "") {
		want := adaptive.Ignored
		if reason == ReasonBackendTimeout || reason == ReasonDeadline {
			want = adaptive.Overloaded
		}
		if got := resultWithout(reason); got != want {
			t.Errorf("%q: %d, want %d", reason, got, want)
		}
	}
}
