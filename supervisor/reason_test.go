package supervisor_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/supervisor"
)

// The contract, row by row: reason, status, RFC 9209 error, whether waiting helps.
var contract = map[supervisor.Reason]struct {
	status  int
	error   string
	waiting bool
}{
	"no_route":             {404, "destination_not_found", false},
	"bad_request":          {400, "http_request_error", false},
	"body_too_large":       {413, "http_request_error", false},
	"client_timeout":       {408, "http_request_error", false},
	"client_gone":          {499, "", false},
	"too_many_connections": {503, "connection_limit_reached", true},
	"queue_full":           {503, "connection_limit_reached", true},
	"queue_timeout":        {503, "connection_limit_reached", true},
	"breaker_open":         {503, "destination_unavailable", true},
	"draining":             {503, "destination_unavailable", true},
	"quarantined":          {503, "destination_unavailable", true},
	"no_worker":            {503, "destination_unavailable", true},
	"journal_unavailable":  {503, "destination_unavailable", true},
	"poison_request":       {503, "destination_unavailable", false},
	"worker_died":          {502, "connection_terminated", false},
	"worker_protocol":      {502, "http_protocol_error", false},
	"backend_refused":      {502, "connection_refused", false},
	"backend_reset":        {502, "connection_terminated", false},
	"backend_protocol":     {502, "http_protocol_error", false},
	"backend_unreachable":  {502, "destination_unavailable", false},
	"backend_tls":          {502, "tls_certificate_error", false},
	"backend_timeout":      {504, "http_response_timeout", false},
	"deadline":             {504, "http_response_timeout", false},
	"worker_unresponsive":  {504, "http_response_timeout", false},
	"idempotency_conflict": {409, "http_request_error", true},
	"idempotency_mismatch": {422, "http_request_error", false},
	"idempotency_full":     {503, "destination_unavailable", true},
}

func TestReasonsAreTheContract(t *testing.T) {
	if got, want := supervisor.Reasons(), slices.Sorted(maps.Keys(contract)); !slices.Equal(got, want) {
		t.Fatalf("reasons\n%v, want\n%v", got, want)
	}
	titles := make(map[string]supervisor.Reason)
	for reason, want := range contract {
		if reason.Status() != want.status || reason.ProxyError() != want.error || reason.Waiting() != want.waiting {
			t.Errorf("%s: %d %q waiting %v, want %+v", reason, reason.Status(), reason.ProxyError(), reason.Waiting(), want)
		}
		if got := fmt.Sprintf("%s %v", reason, reason); got != string(reason)+" "+string(reason) {
			t.Errorf("%q is printed as %q", string(reason), got)
		}
		if got, want := reason.CountsAgainstBackend(), strings.HasPrefix(string(reason), "backend_"); got != want {
			t.Errorf("%s: counts against the backend: %v, want %v", reason, got, want)
		}
		if other, taken := titles[reason.Title()]; taken || reason.Title() == "" {
			t.Errorf("%s: title %q, also of %q", reason, reason.Title(), other)
		}
		titles[reason.Title()] = reason
	}
}

func TestEveryFaultIsAReason(t *testing.T) {
	for _, fault := range []exchange.Fault{
		exchange.BackendRefused, exchange.BackendUnreachable, exchange.BackendReset, exchange.BackendProtocol,
		exchange.BackendTimeout, exchange.BackendTLS, exchange.WorkerDied, exchange.WorkerProtocol,
		exchange.WorkerUnresponsive, exchange.Deadline, exchange.ClientGone, exchange.ClientTimeout, exchange.BadRequest,
	} {
		if got := supervisor.ReasonOf(fault); got != supervisor.Reason(fault) {
			t.Errorf("reason of %s: %s", fault, got)
		}
	}
	if got := supervisor.ReasonOf("a word of tomorrow"); got != supervisor.ReasonWorkerProtocol {
		t.Errorf("reason of an unknown fault: %s", got)
	}
}

func TestReasonOutsideTheTablePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an unknown reason has a status")
		}
	}()
	supervisor.Reason("mystery").Status()
}
