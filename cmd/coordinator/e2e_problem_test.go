//go:build linux

package main_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// problem is the problem details of an answer.
type problem struct {
	Type, Title, Detail, Bulkhead, Reason, Outcome string
	Status                                         int
	RetrySafe                                      bool   `json:"retry_safe"`
	RequestID                                      string `json:"request_id"`
	Owner, Runbook                                 string
}

// proxyErrors are the RFC 9209 error types of the reasons, as the contract has
// them.
var proxyErrors = map[string]string{
	"no_route": "destination_not_found", "bad_request": "http_request_error", "body_too_large": "http_request_error",
	"client_timeout": "http_request_error", "too_many_connections": "connection_limit_reached",
	"queue_full": "connection_limit_reached", "queue_timeout": "connection_limit_reached",
	"breaker_open": "destination_unavailable", "draining": "destination_unavailable",
	"quarantined": "destination_unavailable", "no_worker": "destination_unavailable",
	"worker_died": "connection_terminated", "worker_unresponsive": "http_response_timeout",
	"backend_refused": "connection_refused", "backend_reset": "connection_terminated", "backend_protocol": "http_protocol_error",
	"backend_unreachable": "destination_unavailable", "backend_tls": "tls_certificate_error",
	"backend_timeout": "http_response_timeout", "deadline": "http_response_timeout",
}

// waits are the reasons whose answers carry Retry-After.
var waits = map[string]bool{
	"too_many_connections": true, "queue_full": true, "queue_timeout": true, "breaker_open": true,
	"draining": true, "quarantined": true, "no_worker": true,
}

// wantProblem checks all that a client is promised of an answer that the
// coordinator itself makes.
func wantProblem(t *testing.T, a answer, status int, reason, outcome string, retrySafe bool) {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("want %s, got %s %q (%v)", reason, a.status, a.body, err)
		return
	}
	if !strings.HasPrefix(a.status, strconv.Itoa(status)) || p.Status != status || p.Reason != reason || p.Outcome != outcome || p.RetrySafe != retrySafe {
		t.Errorf("got %s with status %d, reason %s, outcome %s, retry_safe %v; want %d %s %s %v",
			a.status, p.Status, p.Reason, p.Outcome, p.RetrySafe, status, reason, outcome, retrySafe)
	}
	if p.Type != "urn:coordinator:problem:"+reason || p.Title == "" || p.Detail == "" {
		t.Errorf("type %q, title %q, detail %q", p.Type, p.Title, p.Detail)
	}
	wantProblemHead(t, a, reason)
	if id := a.header.Get("X-Request-Id"); p.RequestID != id {
		t.Errorf("request_id %q, X-Request-Id %q", p.RequestID, id)
	}
	for _, secret := range []string{"127.0.0.1", "/tmp", "goroutine", ".go:"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("the body tells %q: %s", secret, a.body)
		}
	}
}

// wantProblemHead is what HEAD gets too.
func wantProblemHead(t *testing.T, a answer, reason string) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", reason, got)
	}
	if got, want := a.header.Get("Proxy-Status"), `coordinator; error=`+proxyErrors[reason]+`; details="`+reason+`"; outcome=`; !strings.HasPrefix(got, want) {
		t.Errorf("Proxy-Status %q, want %q", got, want)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s: no X-Request-Id", reason)
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if waits[reason] != (err == nil && seconds >= 1) {
		t.Errorf("%s: Retry-After %q", reason, a.header.Get("Retry-After"))
	}
}
