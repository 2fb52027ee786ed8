package sanitise_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"commerce.example/coordinator/supervisor/fallback/sanitise"
)

// Wherever in whatever JSON a canary is planted, in whatever disguise: with rules
// that keep all nothing is written, and with rules that keep what is known the
// canary is not in it.
func FuzzNothingPlantedSurvives(f *testing.F) {
	f.Add(uint64(1), `{"count":1,"results":[{"number":"TEST-1","lines":[{"title":"a"}],"user":{"email":""}}]}`)
	f.Add(uint64(2), `[[[]],{"":null}]`)
	f.Add(uint64(3), `"x"`)
	all, known := rules(f, "."), rules(f, "{count: (.count? | numbers), numbers: [.results[]?.number? | strings | select(test(\"^TEST-[0-9]{1,6}$\"))]}")
	detectors := []sanitise.Detector{sanitise.Email, sanitise.Phone, sanitise.Card, sanitise.Token, sanitise.JWT}
	var worn []string
	for name := range disguises {
		worn = append(worn, name)
	}
	slices.Sort(worn)
	f.Fuzz(func(t *testing.T, seed uint64, body string) {
		var v any
		if json.Unmarshal([]byte(body), &v) != nil || len(body) > 10000 {
			return
		}
		draw := rand.New(rand.NewPCG(seed, 0))
		of := canaries[detectors[draw.IntN(len(detectors))]]
		canary := of[draw.IntN(len(of))]
		planted, err := json.Marshal(plant(draw, v, disguises[worn[draw.IntN(len(worn))]](canary)))
		if err != nil {
			t.Fatal(err)
		}
		if kept, findings, err := all.Apply(context.Background(), ofJSON(string(planted))); kept != nil || len(findings) == 0 && err == nil {
			t.Errorf("%s: kept %s", planted, kept)
		}
		if kept, _, _ := known.Apply(context.Background(), ofJSON(string(planted))); strings.Contains(string(kept), canary) {
			t.Errorf("%s: kept %s", planted, kept)
		}
	})
}

// plant puts canary somewhere into v.
func plant(draw *rand.Rand, v any, canary string) any {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 && draw.IntN(4) > 0 {
			i := draw.IntN(len(v))
			v[i] = plant(draw, v[i], canary)
			return v
		}
		return append(v, canary)
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		switch {
		case len(keys) > 0 && draw.IntN(4) > 0:
			key := keys[draw.IntN(len(keys))]
			v[key] = plant(draw, v[key], canary)
		case draw.IntN(2) > 0:
			v[canary] = true
		default:
			v["planted"] = canary
		}
		return v
	}
	return canary
}
