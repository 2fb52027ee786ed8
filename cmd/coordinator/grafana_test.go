package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const dashboardFile = "grafana/coordinator.json"

// aDashboard is what Grafana's loader wants of one (its classic schema), and what
// a person wants who imports it: nothing that names somebody's data source.
type aDashboard struct {
	ID            *int
	UID, Title    string
	SchemaVersion int
	Time          struct{ From, To string }
	Templating    struct{ List []aVariable }
	Annotations   struct {
		List []struct {
			Name, Expr string
			Datasource aSource
		}
	}
	Panels []aPanel
}

type (
	aSource   struct{ Type, UID string }
	aVariable struct {
		Type, Name, Definition string
		Query                  any
		Datasource             *aSource
		Multi, IncludeAll      bool
		AllValue               string
	}
	aPanel struct {
		ID          int
		Type, Title string
		GridPos     struct{ H, W, X, Y int }
		Datasource  *aSource
		FieldConfig struct {
			Defaults  map[string]any
			Overrides []any
		}
		Options map[string]any
		Panels  []aPanel
		Targets []struct {
			RefID, Expr, LegendFormat, Format string
			Range, Instant                    bool
			Datasource                        aSource
		}
	}
)

func dashboard(t *testing.T) (d aDashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(deployed(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var chosenSource = aSource{"prometheus", "${datasource}"}

func TestDashboardLoads(t *testing.T) {
	d := dashboard(t)
	if d.ID != nil || d.UID == "" || d.Title == "" || d.SchemaVersion < 39 || d.Time.From == "" || d.Time.To == "" {
		t.Errorf("id %v, uid %q, title %q, schema %d, time %v", d.ID, d.UID, d.Title, d.SchemaVersion, d.Time)
	}
	variables := map[string]aVariable{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v
		if v.Type == "query" && (v.Datasource == nil || *v.Datasource != chosenSource || !v.Multi || !v.IncludeAll || v.AllValue != ".*") {
			t.Errorf("variable %s: %+v", v.Name, v)
		}
	}
	if v := variables["datasource"]; v.Type != "datasource" || v.Query != "prometheus" {
		t.Errorf("datasource: %+v", v)
	}
	if variables["bulkhead"].Type != "query" || variables["instance"].Type != "query" {
		t.Errorf("variables %v", variables)
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" && a.Datasource != chosenSource {
			t.Errorf("annotation %s: %+v", a.Name, a.Datasource)
		}
	}
	rows := map[string]int{}
	row, ids, taken := "", map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID <= 0 || ids[p.ID] || p.Type == "" || p.Title == "" {
			t.Errorf("panel %d %q of type %q", p.ID, p.Title, p.Type)
		}
		ids[p.ID] = true
		occupy(t, p, taken)
		if p.Type == "row" {
			row = p.Title
			continue
		}
		rows[row]++
		p.check(t)
	}
	for _, want := range []string{"Overview", "Traffic", "Latency", "Saturation", "Breaker", "Workers", "Fallback", "Journal", "Repeats, limits, traces"} {
		if rows[want] == 0 {
			t.Errorf("no panels in a row %q", want)
		}
	}
}

// occupy sees that p lies on the grid of 24 columns, and on no other panel.
func occupy(t *testing.T, p aPanel, taken map[[2]int]string) {
	t.Helper()
	g := p.GridPos
	if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
		t.Errorf("%s lies at %+v", p.Title, g)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other := taken[[2]int{x, y}]; other != "" {
				t.Fatalf("%s lies on %s", p.Title, other)
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}

// check sees that p has what its kind needs to draw something.
func (p aPanel) check(t *testing.T) {
	t.Helper()
	if p.Datasource == nil || *p.Datasource != chosenSource || len(p.Targets) == 0 || p.Options == nil || p.FieldConfig.Defaults == nil || p.FieldConfig.Overrides == nil {
		t.Errorf("%s is incomplete: %+v", p.Title, p)
	}
	switch p.Type {
	case "timeseries", "stat", "table", "heatmap", "state-timeline":
	default:
		t.Errorf("%s is a %q, which not every Grafana has", p.Title, p.Type)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if target.RefID == "" || refs[target.RefID] || target.Expr == "" || target.Datasource != chosenSource || target.Range == target.Instant {
			t.Errorf("%s: target %+v", p.Title, target)
		}
		refs[target.RefID] = true
		if p.Type == "table" && target.Format != "table" || p.Type == "heatmap" && target.Format != "heatmap" {
			t.Errorf("%s: format %q", p.Title, target.Format)
		}
		if strings.Contains(target.Expr, "coordinator_") && !strings.Contains(target.Expr, `instance=~"$instance"`) && !strings.Contains(target.Expr, "ALERTS") {
			t.Errorf("%s: %s does not heed the chosen instance", p.Title, target.Expr)
		}
	}
}

func TestDashboardUsesMetricsThatExist(t *testing.T) {
	var all strings.Builder
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			fmt.Fprintln(&all, target.Expr)
		}
	}
	for _, name := range unknownMetrics(t, all.String()) {
		t.Errorf("no metric is called %s", name)
	}
}
