package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"

	"commerce.example/coordinator/ipc/exchange"
	"commerce.example/coordinator/ipc/target"
)

// switchProtocols passes a 101 on and then everything, both ways, until both
// sides have ended. The end of one is passed on as an end of that direction; an
// error ends both.
func switchProtocols(control *http.ResponseController, w http.ResponseWriter, resp *http.Response) {
	server, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		fail(w, &exchange.Error{Fault: exchange.BackendProtocol, Stage: exchange.Answered,
			Err: errors.New("an upgrade without a connection")})
		return
	}
	client, buffered, err := control.Hijack()
	if err != nil {
		fail(w, &exchange.Error{Fault: exchange.WorkerProtocol, Stage: exchange.Answered, Err: err})
		return
	}
	defer client.Close()
	if err := writeSwitch(buffered.Writer, resp); err != nil {
		return // the client is gone
	}
	// What the server has read ahead, then the bare connection: net/http's reader
	// cancels the request, and so the backend's connection, at the end of one half.
	ahead := io.LimitReader(buffered.Reader, int64(buffered.Reader.Buffered()))
	up := make(chan struct{})
	go func() {
		defer close(up)
		if !copyHalf(server, io.MultiReader(ahead, client)) {
			server.Close()
			client.Close()
		}
	}()
	if !copyHalf(client, server) {
		server.Close()
		client.Close()
	}
	<-up
}

// writeSwitch writes the head of a 101: the server has no part in it any more.
func writeSwitch(w *bufio.Writer, resp *http.Response) error {
	protocol := resp.Header["Upgrade"]
	target.StripHopByHop(resp.Header)
	resp.Header["Connection"] = []string{"Upgrade"}
	resp.Header["Upgrade"] = protocol
	if _, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := resp.Header.Write(w); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	return w.Flush()
}

// copyHalf copies one direction and passes its end on. It reports whether it
// came to a proper end.
func copyHalf(dst io.Writer, src io.Reader) bool {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	// Neither end may take over the copying: net.TCPConn would splice around the
	// backend's read buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
	if err != nil {
		return false
	}
	half, ok := dst.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
