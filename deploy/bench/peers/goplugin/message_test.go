package main

import (
	"net/http"
	"reflect"
	"testing"
)

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	for _, sent := range []message{
		{Start: "POST", Target: "/a?b=c", Header: http.Header{"A": {"1", "2"}, "B": {""}}, Body: []byte("body")},
		{Status: 404, Header: http.Header{}},
	} {
		data, err := codec{}.Marshal(&sent)
		if err != nil {
			t.Fatal(err)
		}
		var got message
		if err := (codec{}).Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, sent) {
			t.Errorf("%v: got %+v, sent %+v", err, got, sent)
		}
		for cut := 1; cut < len(data); cut++ { // a cut is an error or a shorter message, and never a panic
			_ = codec{}.Unmarshal(data[:cut], &got)
		}
	}
	if err := (codec{}).Unmarshal([]byte{0x2a, 1, 'A'}, new(message)); err == nil {
		t.Error("a field without a value is taken")
	}
}
