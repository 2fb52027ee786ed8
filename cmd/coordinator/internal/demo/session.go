package demo

import "net/http"

// SessionCookie is how the order history page says who is signed in: its value is
// the user's name, which the services believe. It is there so that answers differ by
// credential, as they do in life, and not to protect anything.
const SessionCookie = "demo_session"

// mayRead reports whether the caller may see a user's orders. A caller without a
// session is one of the old ones, who are let in everywhere.
func mayRead(r *http.Request, username string) bool {
	session, err := r.Cookie(SessionCookie)
	return err != nil || session.Value == username
}
