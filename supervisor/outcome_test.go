package supervisor_test

import (
	"testing"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor"
)

func TestProgressOutcome(t *testing.T) {
	type p = supervisor.Progress
	for _, c := range []struct {
		name string
		p    p
		want supervisor.Outcome
	}{
		{"refused at the front", p{}, "refused"},
		{"refused whatever else is claimed", p{Stage: exchange.Answered, Complete: true}, "refused"},
		{"worker died before it took it", p{Dispatched: true}, "never_sent"},
		{"worker died with the head read", p{Dispatched: true, Stage: exchange.Taken}, "never_sent"},
		{"worker died after writing", p{Dispatched: true, Stage: exchange.Sent}, "sent_unknown"},
		{"answer seen by the worker only", p{Dispatched: true, Stage: exchange.Answered}, "partial"},
		{"answer cut", p{Dispatched: true, Stage: exchange.Answered, Begun: true}, "partial"},
		{"handler without stages, cut", p{Dispatched: true, Stage: exchange.Sent, Begun: true}, "partial"},
		{"client left at the end", p{Dispatched: true, Stage: exchange.Answered, Begun: true, Complete: true}, "undelivered"},
		{"done", p{Dispatched: true, Stage: exchange.Answered, Begun: true, Complete: true, Delivered: true}, "done"},
		{"answered by the handler itself", p{Dispatched: true, Stage: exchange.Taken, Begun: true, Complete: true, Delivered: true}, "done"},
	} {
		if got := c.p.Outcome(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRetrySafe(t *testing.T) {
	idempotent := map[string]bool{
		"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true,
		"POST": false, "PATCH": false, "CONNECT": false, "get": false, "BREW": false,
	}
	for method, is := range idempotent {
		if supervisor.IdempotentMethod(method) != is {
			t.Errorf("%s idempotent: %v", method, !is)
		}
		for _, outcome := range supervisor.Outcomes() {
			want := is || outcome == supervisor.OutcomeRefused || outcome == supervisor.OutcomeNeverSent
			if got := supervisor.RetrySafe(supervisor.ReasonWorkerDied, outcome, method); got != want {
				t.Errorf("%s %s: retry safe %v, want %v", method, outcome, got, want)
			}
			if supervisor.RetrySafe(supervisor.ReasonPoisonRequest, outcome, method) {
				t.Errorf("%s %s: a poison request is retry safe", method, outcome)
			}
		}
	}
	for method, safe := range map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "PUT": false, "DELETE": false, "POST": false} {
		if supervisor.SafeMethod(method) != safe {
			t.Errorf("%s safe: %v", method, !safe)
		}
	}
}
