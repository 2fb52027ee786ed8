package supervisor_test

import (
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"commerce.example/coordinator/supervisor"
)

// What the backend read before a write is not what a later request may be given,
// however late that answer comes.
func TestWriteOvertakesRead(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	written := filepath.Join(t.TempDir(), "written")
	target := "/a/legacy/x?until=" + written
	answered := make(chan string, 1)
	go func() {
		_, body := r.get(target)
		answered <- body
	}()
	eventually(t, 5*time.Second, "the read is on its way", func() bool { return r.bulkhead("a").InFlight == 1 })
	if got := r.reason("POST", target, nil); got != "200" {
		t.Fatal(got)
	}
	if err := os.WriteFile(written, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-answered
	set("backend_reset")
	if resp, body := r.get(target); resp.StatusCode != 502 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// believing has the front believe what the test says about the way it came.
func believing(o *supervisor.Options) {
	o.Config.TrustedProxies = supervisor.TrustedProxies{netip.MustParsePrefix("127.0.0.0/8")}
}

// Behind a proxy the shop is in X-Forwarded-Host, and the scheme decides whether
// the answer is the page or the redirect to it.
func TestForwardedNamesTheResource(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c}, believing)
	ask := map[string][]string{
		"host":   {"X-Forwarded-Host", "one.example", "X-Forwarded-Host", "two.example"},
		"scheme": {"X-Forwarded-Proto", "http", "X-Forwarded-Proto", "https"},
		"port":   {"X-Forwarded-Port", "80", "X-Forwarded-Port", "8443"},
		"prefix": {"X-Forwarded-Prefix", "/one", "X-Forwarded-Prefix", "/two"},
	}
	for name, way := range ask {
		if _, body := r.get("/a/legacy/"+name+"?says="+way[0], way[:2]...); body != way[1] {
			t.Fatalf("%s: %q", name, body)
		}
	}
	set("backend_reset")
	for name, way := range ask {
		target := "/a/legacy/" + name + "?says=" + way[0]
		if resp, body := r.get(target, way[:2]...); resp.StatusCode != 200 || body != way[1] {
			t.Errorf("%s: %d %q", name, resp.StatusCode, body)
		}
		if resp, body := r.get(target, way[2:]...); resp.StatusCode == 200 {
			t.Errorf("%s: %s was given the answer to %s", name, way[3], body)
		}
	}
}

// A user who is named by a field that nobody listed is no anonymous one.
func TestUnlistedCredentials(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c}, believing)
	var fields = []string{
		"X-Api-Key", "Apikey", "Api-Key", "X-Auth-Token", "X-Access-Token", "X-Session-Token", "X-Session-Id", "X-Id-Token", "Private-Token",
		"X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User", "X-Auth-Request-Email",
		"X-Forwarded-Access-Token", "X-Forwarded-Client-Cert", "Client-Cert", "X-Ssl-Client-Cert", "X-Client-Cert", "X-Ssl-Client-S-Dn",
		"X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Goog-Iap-Jwt-Assertion", "X-Goog-Authenticated-User-Email",
		"Cf-Access-Jwt-Assertion", "X-Ms-Client-Principal", "X-Jwt-Assertion", "X-Amz-Security-Token", "X-User-Id", "X-Tenant-Id", "Dpop",
		"Ocp-Apim-Subscription-Key", "X-Vault-Token", "X-Authorization", "X-Functions-Key",
	}
	for _, field := range fields {
		r.get("/a/legacy/"+field+"?says="+field, field, "alice")
	}
	set("backend_reset")
	for _, field := range fields {
		for _, who := range []string{"bob", ""} {
			sent := []string{field, who}
			if who == "" {
				sent = nil
			}
			if resp, body := r.get("/a/legacy/"+field+"?says="+field, sent...); resp.StatusCode == 200 {
				t.Errorf("%s: %q was given what is %s's", field, who, body)
			}
		}
	}
}

// A field that makes the backend do something else than method and URL say makes
// the answer one to something else.
func TestOverriddenRequests(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	for field, value := range map[string]string{
		"X-Http-Method-Override": "DELETE", "X-Http-Method": "PUT", "X-Method-Override": "POST",
		"X-Original-Url": "/admin", "X-Rewrite-Url": "/admin",
	} {
		target := "/a/legacy/" + field
		set("")
		r.get(target, field, value)
		set("backend_reset")
		if resp, body := r.get(target); resp.StatusCode == 200 {
			t.Errorf("the answer to %s: %s is kept for who asks without: %q", field, value, body)
		}
		set("")
		r.get(target)
		set("backend_reset")
		if resp, _ := r.get(target, field, value); resp.StatusCode == 200 {
			t.Errorf("%s: %s was given an answer that is for a plain GET", field, value)
		}
	}
}

// A token that an answer to nobody gives out is whoever's asked first.
func TestIssuedTokenIsNotShared(t *testing.T) {
	c, set := legacyOf(t, "a")
	r := start(t, []supervisor.BulkheadConfig{c})
	for _, field := range []string{"X-Auth-Token", "Authorization", "X-Csrf-Token", "X-Access-Token"} {
		target := "/a/legacy/x?" + field + "=secret"
		set("")
		r.get(target)
		set("backend_reset")
		if resp, _ := r.get(target); resp.StatusCode == 200 && resp.Header.Get(field) != "" {
			t.Errorf("%s was given out again", field)
		}
	}
}

// The verdict of a probe does not wait for the client of the answer that stands in.
func TestProbeDoesNotWaitForReader(t *testing.T) {
	t.Parallel()
	c, set := legacyOf(t, "a", func(c *supervisor.BulkheadConfig) {
		c.Breaker.MinCalls, c.Breaker.OpenFor = 2, 200*time.Millisecond
		c.Fallback.Stale.Bytes, c.Fallback.Stale.MaxAnswer = 64<<20, 32<<20
	})
	r := start(t, []supervisor.BulkheadConfig{c})
	const large = "/a/legacy/x?n=16777216" // more than the kernel holds for it
	r.get(large)
	r.get("/a/legacy/y")
	set("backend_reset")
	r.get("/a/legacy/y")
	r.get("/a/legacy/y")
	eventually(t, 5*time.Second, "half-open", func() bool { return r.bulkhead("a").Breaker.State == "half_open" })
	_, br := r.raw("GET " + large + " HTTP/1.1\r\nHost: " + r.addr + "\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || member(t, resp.Header, "Cache-Status")["fwd"] == nil {
		t.Fatalf("%v %v", resp, err)
	}
	if got := r.bulkhead("a").Breaker.State; got != "open" {
		t.Errorf("the probe failed, and the breaker is %s until its client has read", got)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
}
