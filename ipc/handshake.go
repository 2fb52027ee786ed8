package ipc

import "github.com/hashicorp/go-plugin"

// What the supervisor and its worker agree on before they can talk. The
// handshake's version is that of the control plane; the data plane's is told in
// Hello.
const (
	cookieKey   = "COORDINATOR_WORKER"
	cookieValue = "1"
	controlName = "control"
)

// Descriptors that a worker is born with, besides the standard three.
const (
	listenerFD = 3 + iota // the data plane's listening socket
	boardFD               // the stage board
	lifelineFD            // a pipe that ends when the supervisor does
)

var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   cookieKey,
	MagicCookieValue: cookieValue,
}
