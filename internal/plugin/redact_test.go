package plugin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func redactor(values ...any) *Redactor {
	r := &Redactor{}
	for _, v := range values {
		r.addSecret(v)
	}
	return r
}

func TestRedact(t *testing.T) {
	const pem = "-----BEGIN KEY-----\r\n  MIIEvQIBADANBg\nab\n\n-----END KEY-----\n"
	for _, tt := range []struct {
		reason string
		values []any
		text   string
		want   string
	}{
		{"nothing to hide", nil, "a text", "a text"},
		{"nothing found", []any{"hunter2"}, "a text", "a text"},
		{"an empty value hides nothing", []any{"", " ", "\n"}, "a b\nc", "a b\nc"},
		{"as it is, every time", []any{"hunter2"}, "hunter2hunter2 xhunter2", "[redacted] x[redacted]"},
		{"deep inside, booleans and null not", []any{map[string]any{"k": []any{"hunter2", true, nil}}}, "k true null hunter2", "[redacted] true null [redacted]"},
		{"in JSON", []any{`a"b\c<d`}, `{"x":"a\"b\\c<d","y":"a\"b\\c\u003cd"}`, `{"x":"[redacted]","y":"[redacted]"}`},
		{"in Kong's JSON", []any{"http://x/"}, `{"x":"http:\/\/x\/"}`, `{"x":"[redacted]"}`},
		{"quoted by Go", []any{"pä\tß\x01"}, `"pä\tß\x01" "p\u00e4\t\u00df\x01"`, `"[redacted]" "[redacted]"`},
		{"JSON quoted by Go", []any{`a"b\c`}, strconv.Quote(`{"x":"a\"b\\c"}`), `"{\"x\":\"[redacted]\"}"`},
		{"in a URL", []any{"a b/c?"}, "http://x?q=a+b%2Fc%3F http://x/a%20b%2Fc%3F", "http://x?q=[redacted] http://x/[redacted]"},
		{"in base64", []any{"\xfb\xff\xbehu?~"}, "+/++aHU/fg== -_--aHU_fg", "[redacted] [redacted]"},
		{"the longest where values contain each other", []any{"pass", "password"}, "password passing", "[redacted] [redacted]ing"},
		{"both where values overlap", []any{"abcdef", "efghij"}, "xabcdefghijx", "x[redacted]x"},
		{"short ones as whole tokens", []any{"ab1"}, "ab1 xab1 ab12 _ab1 'ab1' é ab1é (ab1)", "[redacted] xab1 ab12 _ab1 '[redacted]' é ab1é ([redacted])"},
		{"short in characters, not in bytes", []any{"äöü"}, "äöü xäöü", "[redacted] xäöü"},
		{"short punctuation says nothing", []any{",", " : "}, "a, b : c", "a, b : c"},
		{"numbers", []any{5.0, 1e21, 0.30000000000000004, 123456789012345680000.0}, "5 15 1e+21 0.3 0.30000000000000004 123456789012345680000 1.2345678901235e+20", "[redacted] 15 [redacted] [redacted] [redacted] [redacted] [redacted]"},
		{"without its newline", []any{"hunter2\n", "x1\n"}, "hunter2 x1", "[redacted] [redacted]"},
		{"line by line", []any{pem}, "bad -----BEGIN KEY----- MIIEvQIBADANBg ab", "bad [redacted] [redacted] ab"},
		{"lines in JSON", []any{"a\"bcd\nx"}, `a\"bcd`, "[redacted]"},
		{"a long one", []any{"s" + strings.Repeat("é", maxRedactText), "éé"}, "x éé s" + strings.Repeat("é", 100) + "...", "x [redacted] [redacted]..."},
		{"short ones inside each other", []any{"a", "a-", "a-b"}, "a-b a-bc a-", "[redacted] [redacted]-bc [redacted]"},
		{"the beginning of one around a whole one, in a text that was cut short", []any{"abcdefghijkl", "efgh", "cdef"}, "x abcdefgh...", "x [redacted]..."},
		{"in one line", []any{"correct  horse\tbattery", "a\n b"}, "correct horse battery, a b", "[redacted], [redacted]"},
		{"a value that looks like the mark", []any{"acted"}, "redacted [redacted]", "red[redacted] [red[redacted]]"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			r := redactor(tt.values...)
			for range 2 {
				if got := r.Redact(tt.text); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

// What somebody typed where a field's name belongs can be a password. The names of the
// plugin's own fields are none, and have to be readable.
func TestNamesFromSecrets(t *testing.T) {
	schema := parsed(t, []byte(`{"fields":[{"config":{"type":"record",
		"fields":[{"redis":{"type":"record","fields":[{"password":{"type":"string"}}]}},
			{"headers":{"type":"map","values":{"type":"record","fields":[{"inner":{"type":"string"}}]}}},
			{"list":{"type":"array","elements":{"type":"record","fields":[{"element":{"type":"string"}}]}}}],
		"shorthand_fields":[{"redis_password":{"type":"string"}}]}}]}`))
	r := redactor(map[string]any{
		"hunter2secret": 1.0, "redis": map[string]any{"password": "pa55word", "s3cr3t.key": "x1"}, "redis_password": "x2",
		"headers": map[string]any{"inner": "x3"}, "list": []any{map[string]any{"element": "x4", "typo": "x5"}},
	})
	r.AllowFieldNames(schema)
	for path, want := range map[string]string{
		"config.redis.password":    "config.redis.password",
		"config.redis_password":    "config.redis_password",
		"config.headers.inner":     "config.headers.inner",
		"config.list[1].element":   "config.list[1].element",
		"config.list[1].typo":      "config.list[1].[redacted]",
		"config.hunter2secret":     "config.[redacted]",
		"config.hunter2secret[2]":  "config.[redacted]",
		"config.redis.s3cr3t.key":  "[redacted]",
		"config.hunter2secretmore": "config.hunter2secretmore",
		"protocols":                "protocols",
	} {
		if got := r.RedactPath(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	const text = "schema violation (config.hunter2secret: unknown field; config.redis.password: pa55word)"
	if got, want := r.Redact(text), "schema violation (config.[redacted]: unknown field; config.redis.password: [redacted])"; got != want {
		t.Errorf("got %s", got)
	}
	// Kong's own words stay, although the Secret has keys of these names.
	words := redactor(map[string]any{"config": map[string]any{"config": 1.0, "unknown": 1.0, "field": 1.0, "tags": 1.0}})
	if got := words.RedactPath("config.config.tags") + ": " + words.Redact("unknown field"); got != "config.config.tags: unknown field" {
		t.Error(got)
	}
	var none *Redactor
	none.AllowFieldNames(schema)
	redactor().AllowFieldNames(nil)
	if got := none.RedactPath("config.x") + redactor("x").RedactPath("config.x"); got != "config.xconfig.x" {
		t.Error(got)
	}
}

func TestRedactAll(t *testing.T) {
	r := RedactAll(map[string]any{"policy": "redis-cluster", "redis": map[string]any{"password": "hunter2"}})
	if got := r.RedactPath("config.redis.password") + ": " + r.Redact("not hunter2, and no redis-cluster"); got != "config.redis.password: not [redacted], and no [redacted]" {
		t.Error(got)
	}
}

func TestRedactorNil(t *testing.T) {
	var r *Redactor
	if got := r.Redact("a text"); got != "a text" {
		t.Error(got)
	}
	if got := fmt.Sprintf("%v %#v", r, r); got != "[redacted] [redacted]" {
		t.Error(got)
	}
}

// Kong repeats a whole value, and the one who keeps its words bounded cuts them short.
func TestRedactorOfATextCutShort(t *testing.T) {
	long := strings.Repeat("0123456789", 100)
	r := redactor(long, `"quoted"`, "abc")
	for text, want := range map[string]string{
		"invalid range: '" + long[:400] + "...": "invalid range: '[redacted]...",
		"invalid range: '0123...":               "invalid range: '[redacted]...",
		"invalid range: '012...":                "invalid range: '012...", // as good as nothing
		`in JSON: \"quo...`:                     "in JSON: [redacted]...",
		long[:400] + "... and more":             long[:400] + "... and more", // not cut short
		"ab...":                                 "ab...",
	} {
		if got := r.Redact(text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestRedactorConcurrently(t *testing.T) {
	r := redactor("hunter2")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got := r.Redact("hunter2"); got != redacted {
				t.Error(got)
			}
		})
	}
	group.Wait()
}

// No value of four characters or more survives, however it was written.
func FuzzRedact(f *testing.F) {
	f.Add("hunter2", "another", "text ")
	f.Add("pass", "password", "passpassword")
	f.Add("a\"b\\c/\n<d>", "[redacted]", "\\")
	f.Add("redacted", "acted]", "[red")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			t.Skip("Render refuses these")
		}
		r := redactor(a, b)
		quoted, err := json.Marshal(map[string]any{text: a, "x": []any{b}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{
			text + a + b + text + a, a + text + b, fmt.Sprintf("%q %+q", a, b), string(quoted), strconv.Quote(string(quoted)),
			url.QueryEscape(a) + text + url.PathEscape(b),
			base64.StdEncoding.EncodeToString([]byte(a)) + " " + base64.RawURLEncoding.EncodeToString([]byte(b)),
		} {
			got := r.Redact(s)
			if again := r.Redact(s); again != got {
				t.Fatalf("%q, then %q", got, again)
			}
			if want := redactOneByOne([]string{a, b}, s); got != want && len(s) <= maxRedactText {
				t.Fatalf("%q: got %q, want %q", s, got, want)
			}
			for _, secret := range []string{a, b} {
				checkHidden(t, got, secret)
			}
		}
	})
}

// redactOneByOne is Redact without a dictionary: it looks for each form at each place.
func redactOneByOne(values []string, s string) string {
	hidden := make([]bool, len(s)+1)
	mark := func(start, end int) {
		for i := start; i < end; i++ {
			hidden[i] = true
		}
	}
	cut, short := strings.CutSuffix(s, "...")
	for _, value := range values {
		for _, part := range parts(value) {
			for _, form := range forms(part) {
				for i := range len(s) {
					end := i + len(form)
					if !strings.HasPrefix(s[i:], form) || form == "" {
						continue
					}
					before, _ := utf8.DecodeLastRuneInString(s[:i])
					after, _ := utf8.DecodeRuneInString(s[end:])
					if !isShort(part) || !isWord(before) && !isWord(after) {
						mark(i, end)
					}
				}
				for n := min(len(form)-1, len(cut)); short && !isShort(part) && n >= minRedactLen; n-- {
					if strings.HasSuffix(cut, form[:n]) {
						mark(len(cut)-n, len(cut))
						break
					}
				}
			}
		}
	}
	var b strings.Builder
	for i := range len(s) {
		if !hidden[i] {
			b.WriteByte(s[i])
		} else if i == 0 || !hidden[i-1] {
			b.WriteString(redacted)
		}
	}
	return b.String()
}

// A text of which the work would not end soon is hidden as a whole, never shown.
func TestRedactHasABudget(t *testing.T) {
	if got := redactor("hunter2").Redact(strings.Repeat("x", maxRedactText)); got != strings.Repeat("x", maxRedactText) {
		t.Error("a text of the maximum size is hidden")
	}
	if got := redactor("hunter2").Redact(strings.Repeat("x", maxRedactText+1)); got != redacted {
		t.Error("a longer one is shown")
	}
	many := &Redactor{}
	for i := range maxPatternBytes / 40 {
		many.addSecret(fmt.Sprintf("secret with blanks, number %d", i))
	}
	if got := many.Redact("a text"); got != redacted {
		t.Error("a text is shown although there are too many values to look for")
	}
	nested := &Redactor{}
	for n := minRedactLen; n < 1500; n++ {
		nested.addSecret(strings.Repeat("a", n))
	}
	if got := nested.Redact(strings.Repeat("aaab", maxRedactText/4)); got != redacted {
		t.Error("a text is shown although looking for values inside each other takes too long")
	}
	keys := map[string]any{}
	for n := minRedactLen; n < 3000; n++ {
		keys[strings.Repeat(".", n)] = true
	}
	if got := redactor(keys).RedactPath("config" + strings.Repeat("..b", maxRedactText/4)); got != redacted {
		t.Error("a path is shown although looking for keys inside each other takes too long")
	}
	if got := redactor(keys).RedactPath("config.a..b"); got != "config.a..b" {
		t.Error(got)
	}
}

// The work on a text grows with the logarithm of the number of values, not with the number.
func TestRedactSteps(t *testing.T) {
	text := strings.Repeat("config.minute: expected a number, got value-77-x; ", 40)
	steps := func(values int) int {
		r := &Redactor{}
		for i := range values {
			r.addSecret(fmt.Sprintf("value-%d-x", i))
		}
		got, n := r.redact(text)
		if values > 77 && strings.Contains(got, "value-77") {
			t.Fatal(got)
		}
		return n
	}
	few, many := steps(100), steps(50_000)
	if few == 0 || many > 4*few {
		t.Errorf("%d steps with 100 values, %d with 50,000", few, many)
	}
	// Adversarial: values that share a long beginning with the text.
	shared := &Redactor{}
	for i := range 2000 {
		shared.addSecret(strings.Repeat("config.", 100) + strconv.Itoa(i))
	}
	if _, n := shared.redact(strings.Repeat("config.", 1000)); n > 2_000_000 {
		t.Errorf("%d steps with values that share a beginning", n)
	}
}

// checkHidden looks for a secret, and its forms, between the marks.
func checkHidden(t *testing.T, text, secret string) {
	t.Helper()
	if utf8.RuneCountInString(secret) < minRedactLen {
		return
	}
	for rest := range strings.SplitSeq(text, redacted) {
		for _, form := range forms(secret) {
			if strings.Contains(rest, form) {
				t.Fatalf("%q shows %q", text, form)
			}
		}
	}
}
