package credential_test

import (
	"slices"
	"testing"

	"commerce.example/coordinator/ipc/credential"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]credential.Name{
		"Authorization":    {Field: "Authorization"},
		"x-api-key":        {Field: "X-Api-Key"},
		"Cookie":           {Field: "Cookie"},
		"Cookie:sessionid": {Field: "Cookie", Cookie: "sessionid"},
		"cookie:Sid":       {Field: "Cookie", Cookie: "Sid"},
	} {
		if n, err := credential.Parse(s); err != nil || n != want {
			t.Errorf("%q: %+v, %v", s, n, err)
		}
	}
	for _, s := range []string{"", ":", "Cookie:", "Authorization:Bearer", "a b", "Cookie:a=b", "Cookie:a;b", "Cookie:a b", " Cookie", "Ü"} {
		if n, err := credential.Parse(s); err == nil {
			t.Errorf("%q is %+v", s, n)
		}
	}
}

func TestSet(t *testing.T) {
	field, all, sid := credential.Name{Field: "Authorization"}, credential.Name{Field: "Cookie"}, credential.Name{Field: "Cookie", Cookie: "sid"}
	given := []credential.Name{sid, field, sid, all}
	if got := credential.Set(given); !slices.Equal(got, []credential.Name{field, all, sid}) {
		t.Errorf("%+v", got)
	}
	if given[0] != sid {
		t.Error("the list that was given has changed")
	}
}
