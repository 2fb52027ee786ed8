package orders

import (
	"net/http"
)

// A refusal is an answer of this worker itself: the problem details that the
// coordinator gives (RFC 9457), and its Proxy-Status (RFC 9209).
type refusal struct {
	status               int
	reason, title, error string
	detail               string
}

var (
	notThere = refusal{http.StatusNotFound, "no_route", "No route", "destination_not_found",
		"The order history is at " + Path + "."}
	notAllowed = refusal{http.StatusMethodNotAllowed, "bad_request", "Bad request", "http_request_error",
		"The order history can be read, and nothing else."}
	// noPage is no refusal of the coordinator's: the history has no such page.
	noPage = refusal{status: http.StatusNotFound, title: "No such page", detail: "The order history ends before this page."}
)

func badQuery(err error) refusal {
	return refusal{http.StatusBadRequest, "bad_request", "Bad request", "http_request_error", err.Error() + "."}
}

// refuse answers in the backend's place. Nothing was sent to it, but for noPage.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, p refusal) {
	body := struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Bulkhead  string `json:"bulkhead,omitempty"`
		Reason    string `json:"reason,omitempty"`
		Outcome   string `json:"outcome,omitempty"`
		RetrySafe *bool  `json:"retry_safe,omitempty"`
		RequestID string `json:"request_id,omitempty"`
	}{Type: "about:blank", Title: p.title, Status: p.status, Detail: p.detail, Bulkhead: h.bulkhead, RequestID: r.Header.Get("X-Request-Id")}
	if p.reason != "" {
		safe := true // nothing was sent
		body.Type, body.Reason, body.Outcome, body.RetrySafe = "urn:coordinator:problem:"+p.reason, p.reason, "never_sent", &safe
		w.Header().Set("Proxy-Status", `coordinator; error=`+p.error+`; details="`+p.reason+`"`)
	}
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS") // RFC 9110 section 15.5.6
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	writeJSON(w, p.status, "application/problem+json", body)
}
