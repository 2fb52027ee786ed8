package supervisor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func poisonRequest(target string) *http.Request {
	return httptest.NewRequest(http.MethodGet, target, nil)
}

// kill has two workers die with r, one after the other.
func (p *poison) kill(r *http.Request, at time.Time) {
	p.died(r, at, at.Add(time.Millisecond))
	p.died(r, at.Add(2*time.Millisecond), at.Add(3*time.Millisecond))
}

func TestPoisonTable(t *testing.T) {
	now := time.Now()
	p := newPoison(now)
	first := poisonRequest("/first?secret=1")
	if p.died(first, now, now.Add(time.Second)) != 1 || p.refuses(first, now.Add(time.Second)) {
		t.Error("refused after one death")
	}
	if n := p.died(first, now.Add(time.Second), now.Add(2*time.Second)); n != 1 {
		t.Errorf("handed over before the first death, and it counts as number %d", n)
	}
	if n := p.died(first, now.Add(1001*time.Millisecond), now.Add(2*time.Second)); n != 2 || !p.refuses(first, now.Add(2*time.Second)) {
		t.Errorf("not refused after %d", n)
	}
	for name, other := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "HEAD" },
		"host":   func(r *http.Request) { r.Host = "other" },
		"query":  func(r *http.Request) { r.RequestURI = "/first?secret=2" },
		"length": func(r *http.Request) { r.ContentLength = 1 },
	} {
		r := poisonRequest("/first?secret=1")
		if !p.refuses(r, now.Add(2*time.Second)) {
			t.Fatal("an equal one passes")
		}
		if other(r); p.refuses(r, now.Add(2*time.Second)) {
			t.Errorf("another %s, and it is refused", name)
		}
	}
	if p.refuses(first, now.Add(2*time.Second+poisonFor+time.Nanosecond)) || p.suspects.Load() != 0 {
		t.Error("refused for ever")
	}
}

func TestPoisonTableIsBounded(t *testing.T) {
	now := time.Now()
	p := newPoison(now)
	for i := range poisonEntries + 1 {
		p.kill(poisonRequest(fmt.Sprint("/", i)), now.Add(time.Duration(i)*time.Second/10))
	}
	at := now.Add(time.Duration(poisonEntries) * time.Second / 10)
	if n := len(p.refused(at)); n != poisonEntries || p.suspects.Load() != poisonEntries {
		t.Errorf("%d entries", n)
	}
	if p.refuses(poisonRequest("/0"), at) || !p.refuses(poisonRequest("/1"), at) {
		t.Error("it was not the oldest that went")
	}
	if n := p.forgive("", at); n != poisonEntries || p.suspects.Load() != 0 || len(p.of) != 0 {
		t.Errorf("forgave %d", n)
	}
}

// Somebody kills all workers, and a frequent request goes from one that dies to
// the next that does: it was answered a moment before. If it goes on, it counts.
func TestAnsweredLately(t *testing.T) {
	now := time.Now()
	p := newPoison(now)
	r, rare := poisonRequest("/frequent"), poisonRequest("/rare")
	p.absolve(r, now)
	p.absolve(rare, now)
	at := now.Add(answeredFor)
	if p.kill(r, at); p.refuses(r, at.Add(time.Second)) {
		t.Error("refused, and it was answered within the minute")
	}
	if p.kill(rare, at.Add(2*time.Second)); !p.refuses(rare, at.Add(3*time.Second)) {
		t.Error("not refused, and it was not answered for a minute")
	}
	if n := p.died(r, at.Add(time.Second), at.Add(2*time.Second)); n != 2 || !p.refuses(r, at.Add(2*time.Second)) {
		t.Errorf("three deaths, of which %d count", n)
	}
}

func TestDrillPoisonsNobody(t *testing.T) {
	now, r := time.Now(), poisonRequest("/")
	p := newPoison(now)
	p.excused.Store(true)
	if p.kill(r, now); p.refuses(r, now.Add(time.Second)) {
		t.Error("refused for what a drill did")
	}
}

func BenchmarkPoison(b *testing.B) {
	r, now := poisonRequest("/api/orders/?page=1&page_size=20"), time.Now()
	for name, suspects := range map[string]int{"none": 0, "some": 100} {
		b.Run(name, func(b *testing.B) {
			p := newPoison(now)
			for i := range suspects {
				p.kill(poisonRequest(fmt.Sprint("/", i)), now)
			}
			b.ReportAllocs()
			for b.Loop() {
				if p.refuses(r, now) {
					b.Fatal("refused")
				}
				p.absolve(r, now)
			}
		})
	}
}
