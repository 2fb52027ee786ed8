package supervisor_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAdminAccessOverTCP(t *testing.T) {
	o := &operator{ready: true}
	c := overTCP(t, admin(o))
	const restart, right = "/v1/bulkheads/orders/restart", bearerToken
	for _, test := range []struct {
		name         string
		method, path string
		status       int
		fields       []string
	}{
		{"no token", "POST", restart, 401, nil},
		{"token", "POST", restart, 200, []string{"Authorization", right}},
		{"scheme in lower case", "POST", restart, 200, []string{"Authorization", "bearer s3cret"}},
		{"wrong token", "POST", restart, 401, []string{"Authorization", "Bearer s3cre"}},
		{"longer token", "POST", restart, 401, []string{"Authorization", "Bearer s3crets"}},
		{"empty token", "POST", restart, 401, []string{"Authorization", "Bearer "}},
		{"other scheme", "POST", restart, 401, []string{"Authorization", "Basic s3cret"}},
		{"token alone", "POST", restart, 401, []string{"Authorization", "s3cret"}},
		{"token in the query", "POST", restart + "?access_token=s3cret", 401, nil},
		{"reload without token", "POST", "/v1/reload", 401, nil},
		{"unknown bulkhead, no token", "POST", "/v1/bulkheads/x/restart", 401, nil},

		{"page of the same origin", "POST", restart, 200, []string{"Authorization", right, "Host", "localhost:9901", "Origin", "http://localhost:9901"}},
		{"and its browser says so", "POST", restart, 200, []string{"Authorization", right, "Host", "localhost:9901", "Origin", "http://localhost:9901", "Sec-Fetch-Site", "same-origin"}},
		{"foreign page", "POST", restart, 403, []string{"Authorization", right, "Origin", "https://evil.example"}},
		{"other port", "POST", restart, 403, []string{"Authorization", right, "Host", "localhost:9901", "Origin", "http://localhost:8080"}},
		{"origin null", "POST", restart, 403, []string{"Authorization", right, "Origin", "null"}},
		{"cross-site without Origin", "POST", restart, 403, []string{"Authorization", right, "Sec-Fetch-Site", "cross-site"}},
		{"foreign page reads", "GET", "/v1/status", 200, []string{"Origin", "https://evil.example"}},

		{"localhost", "GET", "/v1/status", 200, []string{"Host", "localhost"}},
		{"LOCALHOST.", "GET", "/v1/status", 200, []string{"Host", "LOCALHOST.:9901"}},
		{"IPv6", "GET", "/v1/status", 200, []string{"Host", "[::1]:9901"}},
		{"IPv6 without port", "GET", "/v1/status", 200, []string{"Host", "[::1]"}},
		{"IPv4", "GET", "/readyz", 200, []string{"Host", "10.1.2.3:9901"}},
		{"host of listen", "GET", "/metrics", 200, []string{"Host", "coordinator.internal:1"}},
		{"rebound name", "GET", "/v1/status", 421, []string{"Host", "evil.example:9901"}},
		{"rebound name changes", "POST", restart, 421, []string{"Host", "evil.example", "Origin", "http://evil.example", "Authorization", right}},
		{"below localhost", "GET", "/healthz", 421, []string{"Host", "localhost.evil.example"}},
		{"name in brackets", "GET", "/healthz", 421, []string{"Host", "[evil.example]"}},
		{"address and name", "GET", "/healthz", 421, []string{"Host", "127.0.0.1.evil.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, body := ask(t, c, test.method, test.path, "", test.fields...)
			if answer.StatusCode != test.status {
				t.Errorf("%d %q, want %d", answer.StatusCode, body, test.status)
			}
			if strings.Contains(body, "s3cret") {
				t.Error("the answer has the token")
			}
			if (answer.Header.Get("WWW-Authenticate") != "") != (test.status == 401) {
				t.Errorf("WWW-Authenticate %q", answer.Header.Get("WWW-Authenticate")) // RFC 9110 section 15.5.2
			}
			if did := o.took(); (did != nil) != (test.method == "POST" && test.status == 200) {
				t.Errorf("%d and did %q", answer.StatusCode, did)
			}
		})
	}
}

func TestAdminWithoutTokenChangesNothingOverTCP(t *testing.T) {
	o := &operator{}
	a := admin(o)
	a.Token = ""
	c := overTCP(t, a)
	for _, authorization := range []string{"", "Bearer ", "Bearer x"} {
		answer, body := ask(t, c, "POST", "/v1/reload", "", "Authorization", authorization)
		if answer.StatusCode != 403 || !strings.Contains(body, "COORDINATOR_ADMIN_TOKEN is not set") {
			t.Errorf("%q: %d %s", authorization, answer.StatusCode, body)
		}
	}
	if did := o.took(); did != nil {
		t.Errorf("did %q", did)
	}
}

// A page may reach the socket through a tunnel, under a name of its own too.
func TestAdminSocketAccess(t *testing.T) {
	o := &operator{}
	c := overSocket(t, admin(o))
	if answer, body := ask(t, c, "POST", "/v1/reload", "", "Host", "localhost"); answer.StatusCode != 200 {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	if answer, _ := ask(t, c, "POST", "/v1/reload", "", "Host", "wiki", "Origin", "http://wiki"); answer.StatusCode != 421 {
		t.Errorf("a page whose name a neighbour answers for: %d", answer.StatusCode)
	}
	if answer, _ := ask(t, c, "POST", "/v1/reload", "", "Origin", "http://evil.example"); answer.StatusCode != 403 {
		t.Errorf("foreign page: %d", answer.StatusCode)
	}
	if answer, _ := ask(t, c, "POST", "/v1/reload", "", "Host", "evil.example", "Origin", "http://evil.example"); answer.StatusCode != 421 {
		t.Errorf("a page whose name leads to the tunnel: %d", answer.StatusCode)
	}
	if did := o.took(); len(did) != 1 {
		t.Errorf("did %q", did)
	}
}

// Health checks of load balancers speak HTTP/1.0 without a Host.
func TestAdminWithoutHost(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveAdmin(t, ln, admin(&operator{}).OverTCP())
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("%v, %v", answer, err)
	}
}
