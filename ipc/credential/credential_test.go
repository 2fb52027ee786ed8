package credential_test

import (
	"testing"

	"commerce.example/coordinator/ipc/credential"
)

func TestFields(t *testing.T) {
	for field, want := range map[string]struct{ secret, user, issued bool }{
		"Authorization":    {true, true, true},
		"Cookie":           {true, true, false},
		"X-Api-Key":        {true, true, false},
		"X-Vault-Token":    {true, true, false},
		"X-Tenant":         {false, true, false},
		"Client-Cert":      {false, true, false},
		"Set-Cookie":       {false, false, true},
		"User-Agent":       {},
		"Accept-Language":  {},
		"authorization":    {true, true, true},
		"x-Forwarded-uSER": {false, true, false},
		"X-Authorization-That-Is-Longer-Than-All-Others": {},
	} {
		if credential.IsSecret(field) != want.secret || credential.NamesUser(field) != want.user || credential.IsIssued(field) != want.issued {
			t.Errorf("%s: secret %v, names a user %v, issued %v", field,
				credential.IsSecret(field), credential.NamesUser(field), credential.IsIssued(field))
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		for _, field := range []string{"X-Forwarded-Preferred-Username", "accept", "X-Auth-Request-Preferred-Username"} {
			credential.NamesUser(field)
			credential.IsIssued(field)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNamesUser(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if credential.NamesUser("Accept-Language") {
			b.Fatal("it does not")
		}
	}
}
