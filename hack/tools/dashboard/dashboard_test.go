package main

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const root = "../../.."

// shown is what of a dashboard a test reads.
type shown struct {
	Panels []struct {
		ID          int
		Type, Title string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, RefID string }
	}
	Templating struct {
		List []struct{ Name string }
	}
}

func committed(t *testing.T) (content []byte, read shown) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "config", "grafana", "overview.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &read); err != nil {
		t.Fatal(err)
	}
	return content, read
}

func TestTheFileIsUpToDate(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := committed(t); string(got) != string(want) {
		t.Error("config/grafana/overview.json is stale; run make dashboard")
	}
}

// served are the series that the manager serves. hack/demo compares them with a real one's.
func served(t *testing.T) map[string][]labels.Labels {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const name = "__name__"
	series, lines := map[string][]labels.Labels{}, bufio.NewScanner(file)
	for lines.Scan() {
		one, err := parser.NewParser(parser.Options{}).ParseMetric(lines.Text())
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		series[one.Get(name)] = append(series[one.Get(name)], one)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return series
}

// fromPrometheus are labels that Prometheus adds to what it scrapes.
var fromPrometheus = []string{"job", "pod", "namespace", "instance"}

// check returns what is wrong with a query, and the metrics that it reads.
func check(query string, series map[string][]labels.Labels) (problems, metrics []string) {
	query = strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$job", ".*", "$gateway", ".*").Replace(query)
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return []string{err.Error()}, nil
	}
	known := map[string]bool{}
	for _, name := range fromPrometheus {
		known[name] = true
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		name := selector.Name
		metrics = append(metrics, name)
		if name != "up" && !slices.ContainsFunc(series[name], func(one labels.Labels) bool { return selects(selector, one) }) {
			problems = append(problems, "the manager serves nothing that "+selector.String()+" selects")
		}
		for _, one := range series[name] {
			one.Range(func(l labels.Label) { known[l.Name] = true })
		}
		return nil
	})
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, name := range aggregate.Grouping {
				if !known[name] {
					problems = append(problems, "no metric has the label "+name)
				}
			}
		}
		return nil
	})
	return problems, metrics
}

func selects(selector *parser.VectorSelector, one labels.Labels) bool {
	return !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool {
		missing := !one.Has(m.Name) && m.Value != "" // a label with an empty value is a missing one
		return !slices.Contains(fromPrometheus, m.Name) && (missing || !m.Matches(one.Get(m.Name)))
	})
}

func TestEveryQueryFindsItsMetrics(t *testing.T) {
	series, used := served(t), map[string]bool{}
	_, dashboard := committed(t)
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			problems, metrics := check(target.Expr, series)
			for _, problem := range problems {
				t.Errorf("panel %q: %s", panel.Title, problem)
			}
			for _, name := range metrics {
				used[name] = true
			}
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	for _, name := range slices.Sorted(maps.Keys(series)) {
		if !used[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestEveryAlertFindsItsMetrics(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "config", "prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	if err := yaml.Unmarshal(content, &rules); err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for _, group := range rules.Spec.Groups {
		for _, rule := range group.Rules {
			alerts++
			problems, _ := check(rule.Expr, served(t))
			for _, problem := range problems {
				t.Errorf("alert %s: %s", rule.Alert, problem)
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}

func TestAQueryThatFindsNothingIsAProblem(t *testing.T) {
	for _, query := range []string{
		`kong_operator_binding`,
		`kong_operator_bindings{condition="Steady"}`,
		`kong_operator_bindings{reason="Ready"}`,
		`sum by (gatewy) (kong_operator_conflicts)`,
		`sum(`,
	} {
		if problems, _ := check(query, served(t)); len(problems) == 0 {
			t.Errorf("%s is taken for right", query)
		}
	}
}

// The four questions are on top, and the panels do not cover each other.
func TestLayout(t *testing.T) {
	_, dashboard := committed(t)
	var stats []string
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.ID == 0 {
			t.Errorf("panel %q has the ID %d", panel.Title, panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type == "stat" {
			stats = append(stats, panel.Title)
			if panel.GridPos.Y != 1 {
				t.Errorf("panel %q is in line %d", panel.Title, panel.GridPos.Y)
			}
		}
		if panel.Type != "row" && panel.Description == "" {
			t.Errorf("panel %q has no description", panel.Title)
		}
		letters := map[string]bool{}
		for _, target := range panel.Targets {
			if letters[target.RefID] || target.RefID == "" {
				t.Errorf("panel %q: a query has the letter %q", panel.Title, target.RefID)
			}
			letters[target.RefID] = true
		}
		for x := range panel.GridPos.W {
			for y := range panel.GridPos.H {
				place := [2]int{panel.GridPos.X + x, panel.GridPos.Y + y}
				if other := taken[place]; other != "" || place[0] >= 24 {
					t.Fatalf("panel %q at %v: %q is there, or it is outside", panel.Title, place, other)
				}
				taken[place] = panel.Title
			}
		}
	}
	if len(stats) != 4 {
		t.Errorf("on top are %q", stats)
	}
	for _, name := range []string{"datasource", "job", "gateway"} {
		if !slices.ContainsFunc(dashboard.Templating.List, func(v struct{ Name string }) bool { return v.Name == name }) {
			t.Errorf("there is no variable %s", name)
		}
	}
}
