package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// bomb is a YAML text in which each level holds the one before it ten times.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 lol\n")
	for i := 1; i <= levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestDecodeConfigRefuses(t *testing.T) {
	half := strings.Repeat("x", maxConfigBytes/2+1)
	for _, tt := range []struct {
		reason, text, problem string
		line                  int
	}{
		{"aliases that multiply", bomb(9), problemTooMany, 6},
		{"aliases of a long text", "a: &a " + half + "\nb:\n- 1\n- *a\n", problemTooLarge, 4},
		{"aliases of a long key", "? &a " + half + "\n: 1\nb: 2\nc: {*a : 3}\n", problemTooLarge, 4},
		{"aliases of a value with a long key", "a: &a {? " + half + " : 1}\nb: *a\n", problemTooLarge, 2},
		{"aliases that nest too deep", "a: &a " + strings.Repeat("[", 40) + strings.Repeat("]", 40) +
			"\nb: " + strings.Repeat("[", 30) + "*a" + strings.Repeat("]", 30) + "\n", problemTooDeep, 2},
		{"an alias inside its own value", "a: 1\nb: &b [1, *b]\n", problemSelfAlias, 2},
		{"an alias of nothing", "a: *b\n", problemNotYAML, 0},
		{"YAML that is too long", "a: " + half + half, problemTooLarge, 0},
		{"YAML that is too deep", "a:\n " + strings.Repeat("[", maxConfigDepth+1) + strings.Repeat("]", maxConfigDepth+1), problemTooDeep, 2},
		{"YAML with too many values", "a: [" + strings.Repeat("1, ", maxConfigNodes) + "1]", problemTooMany, 1},
		{"YAML with so many values that a tree of them would be large", strings.Repeat("[", 2*maxConfigNodes), problemTooMany, 0},
		{"JSON that is too long", `{"a":"` + half + half + `"}`, problemTooLarge, 0},
		{"JSON that is too deep", strings.Repeat("[", maxConfigDepth+1) + strings.Repeat("]", maxConfigDepth+1), problemTooDeep, 0},
		{"JSON with too many values", "[" + strings.Repeat("1,", maxConfigNodes) + "1]", problemTooMany, 0},
		{"a key twice in JSON", "{\"a\":1,\n\"b\":[{\"c\":1,\n\n\"c\":2}]}", problemDuplicate, 4},
		{"a key twice in JSON, written in two ways", `{"a":1,"\u0061":2}`, problemDuplicate, 1},
		{"a key twice in YAML", "a: 1\nb:\n  c: 1\n  c: 2\n", problemDuplicate, 4},
		{"a key twice in YAML, once quoted", "1: a\n\"1\": b\n", problemDuplicate, 2},
		{"a key twice in YAML, once an alias", "a: &a x\nb: {x: 1, *a : 2}\n", problemDuplicate, 2},
		{"keys that are the same in JSON", "yes: 1\n\"true\": 2\n", problemSameJSONKey, 0},
		{"a key that is an object", "a: 1\n? {b: 1}\n: 2\n", problemComplexKey, 2},
		{"a key that is null", "~: 1\n", problemNotYAML, 0},
		{"a merge key", "a: &a {x: 1}\nb:\n  y: 2\n  <<: *a\n", problemMergeKey, 4},
		{"a second document", "a: 1\n---\nb: 2\n", problemDocument, 2},
		{"a second document after an empty one", "a: 1\n---\n---\nb: 2\n", problemDocument, 3},
		{"a second document that cannot be read", "a: 1\n---\nb: [\n", problemNotYAML, 3},
		{"a document after an empty one", "---\n---\na: 1\n", problemDocument, 2},
		{"two JSON texts", "{\"a\":1}\n{\"b\":2}\n", problemNotYAML, 1},
		{"a number beyond the range", "[1,\n1e999]", problemNotJSON, 2},
		{"a number beyond the range in an object", "{\"a\":\n1e999}", problemNotJSON, 2},
		{"directives that the parser compares pairwise", strings.Repeat("%TAG !a! b\n", maxTagDirectives+1) + "--- a: 1", problemDirectives, 0},
		{"tabs", "a:\n\t- b\n", problemNotYAML, 2},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, p := decodeConfig([]byte(tt.text), newBudget())
			if p == nil {
				t.Fatal("accepted")
			}
			if *p != (problem{tt.problem, tt.line}) {
				t.Errorf("got %+v", *p)
			}
		})
	}
}

func TestDecodeConfigAccepts(t *testing.T) {
	for _, tt := range []struct{ reason, text, want string }{
		{"JSON", "{\"a\":[1,\"x\",null,true,{\"b\":{}}]}", `{"a":[1,"x",null,true,{"b":{}}]}`},
		{"YAML 1.1, as kubectl reads it", "a: yes\nb: 010\nc: 1_000\nd: 2001-01-01\n", `{"a":true,"b":8,"c":1000,"d":"2001-01-01"}`},
		{"aliases", "a: &a {x: [1, 2]}\nb: *a\nc: [*a, *a]\n", `{"a":{"x":[1,2]},"b":{"x":[1,2]},"c":[{"x":[1,2]},{"x":[1,2]}]}`},
		{"an alias for a key", "a: &k x\nb: {*k : 1}\n", `{"a":"x","b":{"x":1}}`},
		{"an alias of a key", "&k x: 1\nb: *k\n", `{"x":1,"b":"x"}`},
		{"an anchor twice", "a: &a 1\nb: &a 2\nc: *a\n", `{"a":1,"b":2,"c":2}`},
		{"a key that is << in quotes", "\"<<\": 1\n", `{"<<":1}`},
		{"a separator at the end", "---\na: 1\n---\n# nothing\n---\n", `{"a":1}`},
		{"a document end", "a: 1\n...\n", `{"a":1}`},
		{"a directive", "%TAG !a! b\n---\na: 1\n", `{"a":1}`},
		{"nothing", "", `null`},
		{"a comment", "# nothing\n", `null`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, p := decodeConfig([]byte(tt.text), newBudget())
			if p != nil {
				t.Fatal(p)
			}
			var want any
			decode(t, []byte(tt.want), &want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The largest that is accepted, so that the bounds are what the messages say.
func TestDecodeConfigAtItsBounds(t *testing.T) {
	for reason, text := range map[string]string{
		"bytes of JSON":  `"` + strings.Repeat("x", maxConfigBytes-2) + `"`,
		"values of JSON": "[" + strings.Repeat("1,", maxConfigNodes-3) + "1]",
		"depth of JSON":  strings.Repeat("[", maxConfigDepth) + strings.Repeat("]", maxConfigDepth),
		"values of YAML": "a: &a [" + strings.Repeat("1, ", 9_996) + "1]\nb: [" + strings.TrimSuffix(strings.Repeat("*a, ", 9), ", ") + "]\n",
		"depth of YAML":  "a: " + strings.Repeat("[", maxConfigDepth-1) + strings.Repeat("]", maxConfigDepth-1),
	} {
		b := newBudget()
		if _, p := decodeConfig([]byte(text), b); p != nil {
			t.Errorf("%s: %v", reason, p)
		}
		if reason == "values of YAML" && b.nodes < 0 {
			t.Errorf("%s: %d left", reason, b.nodes)
		}
	}
}

func TestLineOf(t *testing.T) {
	for text, want := range map[string]int{
		"yaml: line 12: mapping": 12,
		"yaml: mapping":          0,
		"line 9999999999: x":     0,
		"line x":                 0,
	} {
		if got := lineOf(errors.New(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestCheckConfigSize(t *testing.T) {
	for text, want := range map[string]string{
		`{"config":{"a":["]","\"[{,"]}}`:    "",
		strings.Repeat("[", 65):             "the plugin's JSON makes the config more than 64 levels deep, which is the maximum",
		strings.Repeat(",", maxConfigNodes): "the plugin's JSON makes the config hold more than 100000 values after decoding, which is the maximum",
		strings.Repeat(" ", maxConfigBytes+1): "the plugin's JSON makes the config larger than 2 MiB after decoding, " +
			"which is the maximum",
	} {
		got := ""
		if err := CheckConfigSize([]byte(text)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.20s: %q", text, got)
		}
	}
}

// Whatever the text: it is decoded as before, refused, or its decoded size is what was
// measured, within the bounds.
func FuzzDecodeConfig(f *testing.F) {
	f.Add("a: &a [1, {b: c}]\nb: *a\n")
	f.Add("a: &a x\n? *a\n: {<<: *a}\n---\n")
	f.Add("{\"a\":1,\"a\":2}")
	f.Add("- - - 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		b := newBudget()
		value, p := decodeConfig([]byte(text), b)
		if p != nil {
			if value != nil || p.text == "" || p.line > len(text)+1 {
				t.Fatalf("%v, %+v", value, p)
			}
			return
		}
		if used := maxConfigNodes - b.nodes; countNodes(value) > max(used, 1) || depthOf(value) > maxConfigDepth {
			t.Fatalf("%d values, measured %d; %d deep", countNodes(value), used, depthOf(value))
		}
		var want any
		if json.Unmarshal([]byte(text), &want) != nil {
			want = nil
			if err := yaml.Unmarshal([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, value); diff != "" {
			t.Fatal(diff)
		}
	})
}

func countNodes(value any) int {
	n := 1
	switch v := value.(type) {
	case map[string]any:
		for _, e := range v {
			n += countNodes(e)
		}
	case []any:
		for _, e := range v {
			n += countNodes(e)
		}
	}
	return n
}
