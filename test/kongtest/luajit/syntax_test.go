package luajit

import (
	"encoding/json"
	"os"
	"testing"
)

// measured is a chunk and what load() of LuaJIT 2.1 said about it; "" if it compiled.
type measured struct {
	Source  string `json:"source"`
	Message string `json:"message"`
}

// TestMessages compares with messages of LuaJIT 2.1: single statements, and
// programs of which a few tokens were changed.
func TestMessages(t *testing.T) {
	raw, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []measured
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) < 100 {
		t.Fatalf("%d messages", len(list))
	}
	for _, m := range list {
		if got := SyntaxError(m.Source); got != m.Message {
			t.Errorf("%s\nLuaJIT: %s\n   got: %s", m.Source, m.Message, got)
		}
	}
}

// TestAccepts has chunks that only LuaJIT with the extensions of Lua 5.2 compiles.
func TestAccepts(t *testing.T) {
	for _, source := range []string{
		"", ";", "x = 1;; y = 2", "x\n(f)()", "while true do break f() end", "return 0x1p4, 42LL, 0xffULL, 2i, '\\x41\\z  b\\u{20AC}'",
		"#!/usr/bin/lua\nreturn 1", "goto x ::x::", "return [==[ ]] ]==]", "--[=[ ]] ]=] return 1",
	} {
		if message := SyntaxError(source); message != "" {
			t.Errorf("%q: %s", source, message)
		}
	}
}

// FuzzSyntaxError looks for panics.
func FuzzSyntaxError(f *testing.F) {
	f.Add("local a = {1, 'b', [[c]]} if a then return end")
	f.Add("x = '\\")
	f.Fuzz(func(_ *testing.T, source string) { SyntaxError(source) })
}
