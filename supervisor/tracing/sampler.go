package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// samplers are the words of OTEL_TRACES_SAMPLER.
var samplers = []string{
	"parentbased_always_on", "parentbased_traceidratio", "parentbased_always_off", "always_on", "traceidratio", "always_off",
}

// sampler decides for the front span; those below it follow.
type sampler struct{ sdk.Sampler }

// newSampler is the one that the environment names. The SDK would read that itself,
// but lends what it made to nobody.
func newSampler() sampler {
	name, ofParent := strings.CutPrefix(variable("OTEL_TRACES_SAMPLER"), "parentbased_")
	s := sdk.AlwaysSample()
	switch name {
	case "":
		ofParent = true
	case "always_off":
		s = sdk.NeverSample()
	case "traceidratio":
		if ratio, err := strconv.ParseFloat(variable("OTEL_TRACES_SAMPLER_ARG"), 64); err == nil {
			s = sdk.TraceIDRatioBased(ratio)
		}
	}
	if ofParent {
		s = sdk.ParentBased(s)
	}
	return sampler{s}
}

// stranger marks the context of a request whose sender is not to decide.
type stranger struct{}

// ShouldSample implements the SDK's Sampler.
//
// What a stranger says of sampling is not heard: one who sets the flag on each
// request would have all of them recorded, and one who clears it would hide. Nor is
// its trace id, which it can choose to be below any ratio. The decision is that of
// a trace that begins here, by chance, and the trace is continued all the same.
func (s sampler) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	if parent.IsValid() && !parent.IsRemote() {
		decision := sdk.Drop
		if parent.IsSampled() {
			decision = sdk.RecordAndSample
		}
		return sdk.SamplingResult{Decision: decision, Tracestate: parent.TraceState()}
	}
	if parent.IsValid() && p.ParentContext.Value(stranger{}) != nil {
		p.ParentContext = context.Background()
		binary.NativeEndian.PutUint64(p.TraceID[8:], rand.Uint64())
	}
	result := s.Sampler.ShouldSample(p)
	result.Tracestate = parent.TraceState()
	return result
}
