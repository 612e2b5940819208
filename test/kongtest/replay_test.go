package kongtest

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// exchange is one request to a real Kong 3.9.1 and its answer.
type exchange struct {
	Name       string          `json:"name"`
	Method     string          `json:"method"`
	Path       string          `json:"path"`
	Type       string          `json:"type"`
	Body       *string         `json:"body"`
	Status     int             `json:"status"`
	AnswerType string          `json:"answerType"`
	Allow      string          `json:"allow"`
	Answer     json.RawMessage `json:"answer"`
}

// exempt names exchanges that are not compared, and why.
var exempt = map[string]string{
	"08_dbless.json: POST /config duplicate plugins": "the message holds an ID that Kong derives from the keys in a way of its own",
	"14_proxy_effects.json: key":                     "credentials are not plugins: the stand-in has none",
}

// recording says how the server of a file is made and what happens between its
// exchanges.
type recording struct {
	options []Option
	setup   func(*Server)
	before  func(*Server, exchange)
}

const soon = 20 * time.Millisecond

func recordingOf(file string) recording {
	switch file {
	case "08_dbless.json":
		return recording{options: []Option{WithDBLess()}, setup: loadConfig}
	case "12_pg_down.json":
		return recording{before: func(s *Server, e exchange) { s.SetDatabaseDown(strings.HasPrefix(e.Name, "down:")) }}
	case "12b_pg_restart.json":
		return recording{setup: seedCorrelation, before: func(s *Server, _ exchange) {
			s.SetDatabaseDown(true)
			s.SetDatabaseDown(false)
		}}
	case "12c_pg_hang.json":
		return recording{options: []Option{WithDatabaseTimeout(soon)}, setup: seedCorrelation, before: func(s *Server, e exchange) {
			s.SetDatabaseFrozen(strings.HasPrefix(e.Name, "hang:"))
		}}
	case "12d_pg_lock_indoubt.json":
		return recording{options: []Option{WithDatabaseTimeout(soon)}, before: func(s *Server, e exchange) {
			s.SetDatabaseLocked(strings.HasPrefix(e.Name, "locked:"))
		}}
	}
	return recording{}
}

func loadConfig(s *Server) {
	body := `{"_format_version":"3.0","services":[{"name":"svc1","url":"http://127.0.0.1:9999",` +
		`"id":"00000000-0000-4000-8000-000000000001","routes":[{"name":"rt1","paths":["/rt1"],` +
		`"id":"00000000-0000-4000-8000-000000000011"}],"plugins":[{"name":"key-auth",` +
		`"id":"00000000-0000-4000-8000-000000000101"}]}],"plugins":[{"name":"rate-limiting","config":` +
		`{"minute":5,"policy":"local"},"tags":["a"],"id":"00000000-0000-4000-8000-000000000102"}],` +
		`"consumers":[{"username":"alice"}]}`
	resp, err := http.Post(s.URL()+"/config", "application/json", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		panic("config: " + resp.Status)
	}
}

func seedCorrelation(s *Server) {
	s.Seed("plugins", map[string]any{
		"name": "correlation-id", "id": "00000000-0000-4000-8000-000000000101",
		"config": map[string]any{"header_name": "X-C", "generator": "uuid", "echo_downstream": true},
	})
}

// TestReplay sends what was sent to a real Kong 3.9.1 and compares the answers.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	equal, skipped := 0, 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			e, s := replayFile(t, file)
			t.Logf("%d exchanges equal, %d exempt", e, s)
			equal, skipped = equal+e, skipped+s
		})
	}
	t.Logf("%d recorded exchanges replayed equal, %d exempt", equal, skipped)
}

func replayFile(t *testing.T, file string) (equal, skipped int) {
	name := filepath.Base(file)
	rec := recordingOf(name)
	srv := Start(t, rec.options...)
	if rec.setup != nil {
		rec.setup(srv)
	}
	r := &replayer{t: t, srv: srv, ids: map[string]string{}}
	for _, e := range readExchanges(t, file) {
		if rec.before != nil {
			rec.before(srv, e)
		}
		if exempt[name+": "+e.Name] != "" {
			skipped++
		} else if r.replay(e) {
			equal++
		}
	}
	return equal, skipped
}

func readExchanges(t *testing.T, file string) []exchange {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []exchange
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// replayer maps the IDs the recorded Kong generated to those of this server.
type replayer struct {
	t   *testing.T
	srv *Server
	ids map[string]string
}

func (r *replayer) replay(e exchange) bool {
	r.t.Helper()
	resp, body := r.send(e)
	where := e.Name + ": " + e.Method + " " + e.Path
	if resp.StatusCode != e.Status {
		r.t.Errorf("%s: status %d, recorded %d: %s", where, resp.StatusCode, e.Status, body)
		return false
	}
	if got := resp.Header.Get("Content-Type"); got != e.AnswerType {
		r.t.Errorf("%s: content type %q, recorded %q", where, got, e.AnswerType)
		return false
	}
	if got := resp.Header.Get("Allow"); got != e.Allow {
		r.t.Errorf("%s: allow %q, recorded %q", where, got, e.Allow)
		return false
	}
	if d := r.compare(e, body); d != "" {
		r.t.Errorf("%s: recorded (-), answered (+):\n%s", where, d)
		return false
	}
	return true
}

func (r *replayer) send(e exchange) (*http.Response, []byte) {
	r.t.Helper()
	path := e.Path
	for old, id := range r.ids {
		path = strings.ReplaceAll(path, old, id)
	}
	var body io.Reader
	if e.Body != nil {
		body = strings.NewReader(*e.Body)
	}
	req, err := http.NewRequest(e.Method, r.srv.URL(), body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.URL.Opaque = path // as it is, with malformed escapes
	if e.Type != "" {
		req.Header.Set("Content-Type", e.Type)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("%s: %v", e.Name, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s: %v", e.Name, err)
	}
	return resp, got
}

// compare returns the difference between the recorded and the given body.
func (r *replayer) compare(e exchange, body []byte) string {
	if len(e.Answer) == 0 {
		if len(body) > 0 {
			return "recorded no body, got " + string(body)
		}
		return ""
	}
	var want, got any
	if err := json.Unmarshal(e.Answer, &want); err != nil {
		return err.Error()
	}
	if html, isText := want.(string); isText {
		return cmp.Diff(html, string(body))
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return err.Error()
	}
	if m, isMap := got.(map[string]any); isMap {
		got = onlyWhatCounts(m, want.(map[string]any))
	}
	for _, v := range []any{want, got} {
		parseYAML(v)
		canonical(v)
	}
	r.bind(want, got)
	want = r.translate(want)
	sortRows(want)
	return cmp.Diff(want, got)
}

// onlyWhatCounts cuts GET /, /status and /timers down to what was kept of them.
func onlyWhatCounts(got, want map[string]any) map[string]any {
	_, root := got["tagline"]
	_, status := got["server"]
	_, timers := got["worker"]
	if !root && !status && !timers {
		return got
	}
	out := map[string]any{}
	for k := range want {
		out[k] = got[k]
	}
	if root {
		out["configuration"] = map[string]any{"database": got["configuration"].(map[string]any)["database"]}
	}
	return out
}

// parseYAML replaces the text of GET /config by what it means.
func parseYAML(v any) {
	m, _ := v.(map[string]any)
	text, isText := m["config"].(string)
	if !isText {
		return
	}
	doc := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		panic(err)
	}
	m["config"] = doc
}

// bind learns which ID stands for which, in order of appearance.
func (r *replayer) bind(want, got any) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for _, k := range sortedKeys(w) {
			r.bind(w[k], g[k])
		}
	case []any:
		g, _ := got.([]any)
		for i := range min(len(w), len(g)) {
			r.bind(w[i], g[i])
		}
	case string:
		g, _ := got.(string)
		if isUUID(w) && isUUID(g) && !given(w) && r.ids[w] == "" && !slices.Contains(values(r.ids), g) {
			r.ids[w] = g
		}
	}
}

func given(id string) bool { return strings.HasPrefix(id, "00000000-0000-") }

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func (r *replayer) translate(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			out[r.id(k)] = r.translate(e)
		}
		return out
	case []any:
		for i := range x {
			x[i] = r.translate(x[i])
		}
	case string:
		return r.id(x)
	}
	return v
}

func (r *replayer) id(s string) string {
	if id := r.ids[s]; id != "" {
		return id
	}
	return s
}

// sortRows puts the rows of a list in the order of the IDs they have here.
func sortRows(v any) {
	m, _ := v.(map[string]any)
	rows, _ := m["data"].([]any)
	slices.SortStableFunc(rows, func(a, b any) int { return strings.Compare(rowID(a), rowID(b)) })
}

func rowID(v any) string {
	m, _ := v.(map[string]any)
	return str(m["id"])
}

// canonical orders sets and blanks what differs from run to run.
func canonical(v any) {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			canonical(e)
		}
	case map[string]any:
		for _, k := range []string{"enabled_plugins", "enabled_in_cluster"} {
			sortList(x[k])
		}
		if kind := kindOf(x); kind != "" {
			canonicalEntity(kind, x)
			return
		}
		for _, e := range x {
			canonical(e)
		}
	}
}

func kindOf(e map[string]any) string {
	for field, kind := range map[string]string{"config": "plugins", "connect_timeout": "services", "strip_path": "routes", "custom_id": "consumers"} {
		if _, has := e[field]; has && e["id"] != nil && e["created_at"] != nil {
			return kind
		}
	}
	return ""
}

func canonicalEntity(kind string, e map[string]any) {
	for _, k := range []string{"created_at", "updated_at"} {
		if n, isNumber := e[k].(float64); isNumber && n == float64(int64(n)) && n > 1.5e9 {
			e[k] = "a time"
		}
	}
	fields := entityFields(kind)
	if config, is := e["config"].(map[string]any); is && kind == "plugins" {
		for _, k := range []string{"provision_key", "secret"} {
			if s := str(config[k]); len(s) >= 32 {
				config[k] = "a secret"
			}
		}
		fields = append(fields, map[string]any{"config": map[string]any{"type": "record", "fields": pluginFields(str(e["name"]))}})
	}
	sortSets(e, fields)
}

func pluginFields(name string) []any {
	raw, _ := pluginSchemaOf(name)
	return configFields(raw)
}

// sortSets sorts what the schema says is a set.
func sortSets(record map[string]any, fields []any) {
	for _, f := range fields {
		for name, def := range f.(map[string]any) {
			d, _ := def.(map[string]any)
			switch sub, _ := d["fields"].([]any); str(d["type"]) {
			case "set":
				sortList(record[name])
			case "record":
				if m, isMap := record[name].(map[string]any); isMap {
					sortSets(m, sub)
				}
			}
		}
	}
}

func sortList(v any) {
	list, _ := v.([]any)
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(string(encode(a)), string(encode(b))) })
}
