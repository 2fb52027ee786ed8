package supervisor

import (
	"cmp"
	"fmt"
	"net/http"
	"time"
)

// FrontLimits are what one client may take of the front, however many it has
// (that is Conns and ConnsPerClient). A zero field but MinBodyRate is its default.
type FrontLimits struct {
	HeaderTimeout    time.Duration // for a whole head, and for a TLS handshake; 10 s
	KeepAliveTimeout time.Duration // of a connection without a request; 120 s
	// MaxStreams is of one HTTP/2 connection; 100, and at most 128: all streams'
	// windows together must not exceed the connection's.
	MaxStreams int
	Head       HeadLimits
	// MinBodyRate is that of a body, either way, while its client is waited for,
	// in bytes per second: see pace. 0: none.
	MinBodyRate int64
}

// HeadLimits bound the head of a request. A zero field is its default.
type HeadLimits struct {
	TargetBytes int // the request-target; 16 KiB
	Fields      int // field lines; 100
	FieldBytes  int // names and values with the four bytes around each; 64 KiB
}

// WithDefaults is l without zeros.
func (l HeadLimits) WithDefaults() HeadLimits {
	return HeadLimits{cmp.Or(l.TargetBytes, 16<<10), cmp.Or(l.Fields, 100), cmp.Or(l.FieldBytes, 64<<10)}
}

// WithDefaults is l without zeros, but for MinBodyRate.
func (l FrontLimits) WithDefaults() FrontLimits {
	return FrontLimits{
		HeaderTimeout:    cmp.Or(l.HeaderTimeout, 10*time.Second),
		KeepAliveTimeout: cmp.Or(l.KeepAliveTimeout, 120*time.Second),
		MaxStreams:       cmp.Or(l.MaxStreams, 100),
		Head:             l.Head.WithDefaults(),
		MinBodyRate:      l.MinBodyRate,
	}
}

// serverBytes is net/http's limit on a head. It lies above the front's own, which
// answer with problem details, and say which of them it was.
func (l HeadLimits) serverBytes() int { return l.TargetBytes + l.FieldBytes + 16<<10 }

func (l HeadLimits) refuseTarget() *Refusal {
	return &Refusal{ReasonBadRequest, http.StatusRequestURITooLong,
		fmt.Sprintf("The request target is longer than %s.", sizeText(l.TargetBytes))}
}

func (l HeadLimits) refuseFieldCount() *Refusal {
	return &Refusal{ReasonBadRequest, http.StatusRequestHeaderFieldsTooLarge,
		fmt.Sprintf("The request has more than %d header fields.", l.Fields)}
}

func (l HeadLimits) refuseFieldBytes() *Refusal {
	return &Refusal{ReasonBadRequest, http.StatusRequestHeaderFieldsTooLarge,
		fmt.Sprintf("The header fields of the request are larger than %s.", sizeText(l.FieldBytes))}
}

func sizeText(bytes int) string {
	if bytes%1024 == 0 {
		return fmt.Sprintf("%d KiB", bytes/1024)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// keepLimits keeps what the server of the front was made with. Bounds of a head
// may move below those: above them net/http would refuse first.
func (s *Supervisor) keepLimits(next *FrontLimits, keep func(name string, differs bool)) {
	made := &s.options.Config.FrontLimits
	keep("COORDINATOR_HEADER_TIMEOUT", next.HeaderTimeout != made.HeaderTimeout)
	keep("COORDINATOR_KEEPALIVE_TIMEOUT", next.KeepAliveTimeout != made.KeepAliveTimeout)
	keep("COORDINATOR_MAX_STREAMS", next.MaxStreams != made.MaxStreams)
	next.HeaderTimeout, next.KeepAliveTimeout, next.MaxStreams = made.HeaderTimeout, made.KeepAliveTimeout, made.MaxStreams

	now := s.config.Load().Head
	if next.Head.TargetBytes > made.Head.TargetBytes {
		keep("COORDINATOR_MAX_TARGET_BYTES", true)
		next.Head.TargetBytes = now.TargetBytes
	}
	if next.Head.FieldBytes > made.Head.FieldBytes {
		keep("COORDINATOR_MAX_FIELD_BYTES", true)
		next.Head.FieldBytes = now.FieldBytes
	}
}
