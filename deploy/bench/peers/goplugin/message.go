package main

import (
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is a request or an answer. It is on the wire as this would be, but
// without the reflection of generated code, which favours go-plugin a little:
//
//	message Message {
//	  string start = 1; string target = 2; int32 status = 3; bytes body = 4;
//	  repeated string field = 5;  // name, value, name, value ...
//	}
type message struct {
	Start, Target string // a request's method and target
	Status        int
	Header        http.Header
	Body          []byte
}

const codecName = "bench"

// codec is how grpc gets at messages.
type codec struct{}

// Name is the content-subtype of the calls that carry messages.
func (codec) Name() string { return codecName }

// Marshal is called by grpc.
func (codec) Marshal(v any) ([]byte, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	b := make([]byte, 0, len(m.Body)+1024)
	text := func(field protowire.Number, s string) {
		b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
	}
	text(1, m.Start)
	text(2, m.Target)
	b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(m.Status))
	for name, values := range m.Header {
		for _, value := range values {
			text(5, name)
			text(5, value)
		}
	}
	return protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), m.Body), nil
}

// Unmarshal is called by grpc.
func (codec) Unmarshal(data []byte, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*m = message{Header: http.Header{}}
	name, named := "", false
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var number uint64
		var text []byte
		if kind == protowire.VarintType {
			number, n = protowire.ConsumeVarint(data)
		} else {
			text, n = protowire.ConsumeBytes(data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		switch field {
		case 1:
			m.Start = string(text)
		case 2:
			m.Target = string(text)
		case 3:
			m.Status = int(number)
		case 4:
			m.Body = append([]byte(nil), text...) // grpc takes data back
		case 5:
			if named = !named; named {
				name = string(text)
			} else {
				m.Header[name] = append(m.Header[name], string(text))
			}
		}
	}
	if named {
		return errors.New("a field without a value")
	}
	return nil
}
