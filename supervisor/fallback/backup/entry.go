package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Entry is one answer, and the file that holds it.
type Entry struct {
	File    string // its name in the folder, which ends with Suffix
	Pattern Pattern
	Made    time.Time // when the backend gave it; files keep whole seconds
	Status  int
	Header  http.Header
	Body    []byte // as it is served: JSON without white space
}

// Suffix is what the name of an answer's file ends with.
const Suffix = ".answer"

// What coordinator snapshot reads in the same folder.
const (
	RequestsFile = "requests"
	RulesFile    = "sanitise.jq"
)

// Statuses are those that an answer may have: the cacheable ones of RFC 9110
// section 15.1 that are whole and blame neither client nor server.
func Statuses() []int { return []int{200, 203, 204, 300, 301, 308, 404, 410} }

// A ban is why a field is not kept.
type ban string

const (
	ofConnection ban = "it is of one connection"
	ofMoment     ban = "it is of one moment"
	ofPerson     ban = "it is for one person"
	ofBytes      ban = "it describes bytes that are not those served"
	ofUs         ban = "the coordinator writes it"
)

var banned = map[string]ban{
	"Connection": ofConnection, "Keep-Alive": ofConnection, "Proxy-Connection": ofConnection, "Te": ofConnection,
	"Trailer": ofConnection, "Transfer-Encoding": ofConnection, "Upgrade": ofConnection,
	"Date": ofMoment, "Age": ofMoment, "Expires": ofMoment, "Retry-After": ofMoment,
	"Set-Cookie": ofPerson, "Set-Cookie2": ofPerson, "Authentication-Info": ofPerson, "Proxy-Authentication-Info": ofPerson,
	"Www-Authenticate": ofPerson, "Proxy-Authenticate": ofPerson, "Authorization": ofPerson, "Cookie": ofPerson,
	"Content-Length": ofBytes, "Content-Encoding": ofBytes, "Content-Range": ofBytes, "Accept-Ranges": ofBytes,
	"Etag": ofBytes, "Last-Modified": ofBytes, "Content-Md5": ofBytes, "Digest": ofBytes, "Content-Digest": ofBytes, "Repr-Digest": ofBytes,
	"Cache-Status": ofUs, "Proxy-Status": ofUs, "X-Request-Id": ofUs,
}

// Storable is nil for a field that an answer may have.
func Storable(field string) error {
	if why, is := banned[http.CanonicalHeaderKey(field)]; is {
		return fmt.Errorf("the field %s is never kept: %s", field, why)
	}
	return nil
}

// IsJSON reports whether a Content-Type is that of JSON.
func IsJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// format is the file of e.
func (e Entry) format() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s\nmade %s\nstatus %d\n", e.Pattern, e.Made.UTC().Format(time.RFC3339), e.Status)
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		for _, value := range e.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	b.WriteByte('\n')
	if len(e.Body) == 0 || !IsJSON(e.Header.Get("Content-Type")) {
		b.Write(e.Body)
		return b.Bytes(), nil
	}
	if err := json.Indent(&b, e.Body, "", "  "); err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
