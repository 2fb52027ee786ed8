package demo

import (
	"encoding/json"
	"net/http"
)

// bookkeeper is a service that can show what it has done.
type bookkeeper interface{ ledger() []Payment }

// control is the handler of the control address.
func (s *site) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, s.faults.now.Load().Fault)
	})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		f, err := faultOf(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.turn(r.Context(), f); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		sendJSON(w, f)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, s.statsNow())
	})
	if b, ok := s.service.(bookkeeper); ok {
		mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, b.ledger())
		})
	}
	return mux
}

func sendJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// Only the connection can fail, and then nobody is there to tell.
	_ = json.NewEncoder(w).Encode(v)
}
