package load

import (
	"encoding/json"

	"github.com/dunglas/httpsfv"
)

// maxReasons bounds the memory of Proxy-Status values already parsed.
const maxReasons = 256

// reason is what an answer of the coordinator says about itself: the details of
// its Proxy-Status member (RFC 9209), else the reason in its problem body. Under
// overload most answers have one, so each value is parsed once.
func (a *answer) reason() string {
	if len(a.proxyStatus) > 0 {
		reason, known := a.reasons[string(a.proxyStatus)]
		if !known {
			reason = detailsOf(string(a.proxyStatus))
			if a.reasons == nil || len(a.reasons) >= maxReasons {
				a.reasons = make(map[string]string)
			}
			a.reasons[string(a.proxyStatus)] = reason
		}
		if reason != "" {
			return reason
		}
	}
	if len(a.problem) == 0 {
		return ""
	}
	var problem struct {
		Reason string `json:"reason"`
	}
	// A problem of somebody else, or a cut one, has no reason to tell.
	_ = json.Unmarshal(a.problem, &problem)
	return problem.Reason
}

// detailsOf is the details of the coordinator's member in a Proxy-Status value.
func detailsOf(value string) string {
	list, err := httpsfv.UnmarshalList([]string{value})
	if err != nil {
		return ""
	}
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok || item.Value != httpsfv.Token("coordinator") {
			continue
		}
		switch details, _ := item.Params.Get("details"); d := details.(type) {
		case string:
			return d
		case httpsfv.Token:
			return string(d)
		}
	}
	return ""
}
