package backend

import (
	"io"
	"net/http"

	"commerce.example/coordinator/ipc/exchange"
)

// switchProtocols hands over the connection, if that was asked for and the
// request is through.
func (x *trip) switchProtocols() (*http.Response, error) {
	if len(x.req.Header["Upgrade"]) == 0 || x.msg.body != nil && (x.up == nil || !x.up.finished()) {
		return nil, x.fail(exchange.BackendProtocol, malformed("an upgrade that nobody asked for"))
	}
	x.answered()
	x.fillResponse()
	x.resp.Header.Del("Content-Length")
	x.resp.Header.Del("Transfer-Encoding")
	x.resp.Close = true
	x.resp.Body = &upgraded{x}
	return &x.resp, nil
}

// upgraded is the connection after a 101. Read and Write may be called at the
// same time, Close at any.
type upgraded struct{ x *trip }

func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.x.c.read(p)
	if err != nil && err != io.EOF {
		err = u.x.fail(exchange.BackendReset, err)
	}
	return n, err
}

func (u *upgraded) Write(p []byte) (int, error) {
	n, err := u.x.c.nc.Write(p)
	if err != nil {
		err = u.x.fail(exchange.BackendReset, err)
	}
	return n, err
}

// Buffered is how many bytes Read would give without a system call.
func (u *upgraded) Buffered() int { return len(u.x.c.buffered()) }

// CloseWrite tells the backend that nothing more comes; reading goes on.
func (u *upgraded) CloseWrite() error {
	if half, ok := u.x.c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return u.Close()
}

func (u *upgraded) Close() error {
	u.x.end(false)
	return nil
}
