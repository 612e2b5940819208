package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func parse(t *testing.T, env map[string]string, args ...string) *options {
	t.Helper()
	o, err := parseOptions(args, environment(env), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := map[string]string{"KONG_OPERATOR_CLUSTER_ID": "from-env", "KONG_OPERATOR_WATCH_NAMESPACES": "shop, kong,,shop"}
	o := parse(t, env)
	if o.clusterID != "from-env" || !slices.Equal(o.namespaces, []string{"kong", "shop"}) {
		t.Errorf("%+v", o)
	}
	if o := parse(t, env, "--cluster-id=from-flag"); o.clusterID != "from-flag" {
		t.Errorf("cluster id %q", o.clusterID)
	}
}

func TestAllowedAdminHosts(t *testing.T) {
	if o := parse(t, nil, "--allowed-admin-hosts=*.kong.svc:8444, 10.0.0.0/8"); !slices.Equal(o.allowedAdminHosts, []string{"*.kong.svc:8444", "10.0.0.0/8"}) {
		t.Errorf("%q", o.allowedAdminHosts)
	}
	if o := parse(t, nil); len(o.allowedAdminHosts) > 0 {
		t.Errorf("%q by default", o.allowedAdminHosts)
	}
}

func TestBadOptionsSayWhatIsWanted(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		args []string
		says string
	}{
		{args: []string{"--cluster-id=a.b"}, says: "use up to 63 letters, digits"},
		{args: []string{"--max-concurrent-reconciles=0"}, says: "at least 1"},
		{args: []string{"--selector=a in (b"}, says: "--selector"},
		{args: []string{"--allowed-admin-hosts=kong-admin.kong.svc,http://kong"}, says: "--allowed-admin-hosts"},
		{args: []string{"serve"}, says: `unexpected argument "serve"`},
		{env: map[string]string{"KONG_OPERATOR_LEADER_ELECT": "maybe"}, says: "KONG_OPERATOR_LEADER_ELECT"},
	} {
		var out bytes.Buffer
		_, err := parseOptions(tc.args, environment(tc.env), &out)
		if err == nil || !strings.Contains(out.String(), tc.says) || exitOf(err) != 2 {
			t.Errorf("%v %v: %v, printed %q", tc.env, tc.args, err, out.String())
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := parseOptions([]string{"--help"}, environment(nil), &out)
	if !errors.Is(err, flag.ErrHelp) || exitOf(err) != 0 {
		t.Fatal(err)
	}
	help := namesIn(regexp.MustCompile(`(?m)^ {2}-([a-z-]+)`), out.String())
	docs := documentedFlags(t)
	if !slices.Equal(help, docs) {
		t.Errorf("--help names %v\nand the table in docs/operations.md %v", help, docs)
	}
	if !strings.Contains(out.String(), "KONG_OPERATOR_CLUSTER_ID") {
		t.Error("--help does not name the environment variables")
	}
}

// documentedFlags returns the first column of the table of flags.
func documentedFlags(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| flag | default | meaning |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var first strings.Builder
	for line := range strings.SplitSeq(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		first.WriteString(cell + "\n")
	}
	return namesIn(regexp.MustCompile("`--([a-z-]+)`"), first.String())
}

// namesIn returns what the group of a pattern matches, sorted and with duplicates.
func namesIn(pattern *regexp.Regexp, text string) []string {
	var names []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return names
}

// Shards must not wait for each other. Replicas of one installation must, also while a rollout changes
// the namespaces that it watches.
func TestEachShardHasALeaseOfItsOwn(t *testing.T) {
	name := func(args ...string) string { return parse(t, nil, args...).leaseName() }
	if name() != name("--watch-namespaces=a") || name("--watch-namespaces=a") != name("--watch-namespaces=a,b") {
		t.Error("the namespaces change the lease")
	}
	one, two := name("--selector=shard=1"), name("--selector=shard=2")
	if one == two || one == name() || two != name("--selector=shard=2", "--watch-namespaces=a") {
		t.Errorf("shards have the leases %s and %s", one, two)
	}
	watches := func(args ...string) string { return parse(t, nil, args...).watches() }
	if watches() == watches("--watch-namespaces=a") || watches() == watches("--selector=shard=1") || watches("--watch-namespaces=a,b") != watches("--watch-namespaces=b, a") {
		t.Error("the label does not tell what is watched")
	}
	a := parse(t, nil, "--watch-namespaces=a,b", "--selector=x=1,y=2").leaseName()
	b := parse(t, nil, "--watch-namespaces=b, a", "--selector=y=2,x=1").leaseName()
	if a != b {
		t.Errorf("two replicas that watch the same objects: %s, %s", a, b)
	}
}
