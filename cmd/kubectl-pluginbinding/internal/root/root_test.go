package root

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
)

func testCommand() *cobra.Command {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	command := newCommand(cli.NewFactory(streams))
	command.InitDefaultHelpCmd()
	command.InitDefaultCompletionCmd("completion")
	command.InitDefaultVersionFlag()
	return command
}

// walk visits a command and all below it.
func walk(command *cobra.Command, visit func(*cobra.Command)) {
	visit(command)
	for _, child := range command.Commands() {
		walk(child, visit)
	}
}

var (
	callPattern = regexp.MustCompile(`kubectl[ -]pluginbinding((?: +[^|>&;` + "`" + `\n]+)?)`)
	flagPattern = regexp.MustCompile(`^--?[A-Za-z]`)
)

// calls are the command lines in a text. What stands behind a comment sign, or in no code, is prose.
func calls(text string) (found [][]string) {
	for _, call := range callPattern.FindAllStringSubmatch(text, -1) {
		line, _, _ := strings.Cut(call[1], " #")
		found = append(found, strings.Fields(line))
	}
	return found
}

// check reports what a command line names that there is not.
func check(command *cobra.Command, args []string) (problem string) {
	words := slices.DeleteFunc(slices.Clone(args), func(word string) bool { return strings.HasPrefix(word, "-") })
	target := command
	for _, word := range words {
		child := slices.IndexFunc(target.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if child < 0 {
			break
		}
		target = target.Commands()[child]
	}
	if target == command && len(words) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(words[0]) {
		return "no command " + words[0]
	}
	target.InitDefaultHelpFlag()
	for _, word := range args {
		name, _, _ := strings.Cut(word, "=")
		if !flagPattern.MatchString(name) {
			continue
		}
		long := strings.TrimPrefix(name, "--")
		exists := target.Flags().Lookup(long) != nil || target.InheritedFlags().Lookup(long) != nil
		if !strings.HasPrefix(name, "--") {
			short := name[1:2]
			exists = target.Flags().ShorthandLookup(short) != nil || target.InheritedFlags().ShorthandLookup(short) != nil
		}
		if !exists {
			return "no flag " + name + " of " + target.CommandPath()
		}
	}
	return ""
}

// code is what a page of the docs has in code: blocks, and spans of a line.
func code(page string) string {
	blocks := regexp.MustCompile("(?s)(?:^|\n) *```.*?\n *```").FindAllString(page, -1)
	page = regexp.MustCompile("(?s)(?:^|\n) *```.*?\n *```").ReplaceAllString(page, "")
	spans := regexp.MustCompile("`[^`\n]+`").FindAllString(page, -1)
	return strings.Join(append(blocks, spans...), "\n")
}

func docs(t *testing.T) map[string]string {
	t.Helper()
	top := filepath.Join("..", "..", "..", "..")
	names, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, name := range append(names, filepath.Join(top, "README.md"), filepath.Join(top, "CHANGELOG.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(name)] = string(text)
	}
	return pages
}

// Each command line of the docs and of the help names commands and flags that there are.
func TestDocumentedCommandsExist(t *testing.T) {
	command, found := testCommand(), 0
	for name, page := range docs(t) {
		for _, call := range calls(code(page)) {
			found++
			if problem := check(command, call); problem != "" {
				t.Errorf("%s: %v: %s", name, call, problem)
			}
		}
	}
	if found < 30 {
		t.Errorf("the docs have only %d calls", found)
	}
	walk(command, func(c *cobra.Command) {
		for _, call := range calls(c.Example) {
			if problem := check(command, call); problem != "" {
				t.Errorf("help of %s: %v: %s", c.CommandPath(), call, problem)
			}
		}
	})
	for _, call := range []string{"nonsense", "tree --nonsense", "tree -Z", "import --dry-run", "handover kic --nonsense=1", "--nonsense"} {
		if check(command, strings.Fields(call)) == "" {
			t.Errorf("%s passes", call)
		}
	}
}

// flagInProse is a flag in a span of code that stands for itself, such as `--from deck`.
var flagInProse = regexp.MustCompile("`(--[a-z][a-z-]+)[^`\n]*`")

// others are flags that the pages about the command name and that belong to something else.
var others = []string{"--proxy-sync-seconds", "--watch-namespaces", "--selector", "--allowed-admin-hosts"}

// Each flag that the pages about the command name is one of it, and each of its commands has a section.
func TestDocumentedFlagsExist(t *testing.T) {
	command, flags := testCommand(), map[string]bool{}
	walk(command, func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
		c.InheritedFlags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
	})
	pages := docs(t)
	for _, name := range []string{"kubectl.md", "from-deck.md", "coming-from-kic.md", "going-back-to-kic.md"} {
		for _, flag := range flagInProse.FindAllStringSubmatch(pages[name], -1) {
			if !flags[flag[1]] && !slices.Contains(others, flag[1]) {
				t.Errorf("%s names %s, which no command has", name, flag[1])
			}
		}
	}
	walk(command, func(c *cobra.Command) {
		if slices.Contains([]string{"help", "completion", "version"}, c.Name()) || c.Parent() != command {
			return
		}
		if !regexp.MustCompile(`(?m)^## (.*\b)?` + c.Name() + `\b`).MatchString(pages["kubectl.md"]) {
			t.Errorf("kubectl.md has no section about %s", c.Name())
		}
	})
	if code := "| 2 | "; !strings.Contains(pages["kubectl.md"], code) {
		t.Errorf("kubectl.md does not say what exit code 2 means")
	}
}

// A library's log lines are for operators. Its errors come as errors, once.
func TestTheLibrariesAreQuiet(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	const nobody = `{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}], contexts: [{name: a, context: {cluster: a}}]}`
	if err := os.WriteFile(kubeconfig, []byte(nobody), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = writer
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	code := Run(t.Context(), streams, []string{"tree", "--kubeconfig", kubeconfig, "--cache-dir", t.TempDir()})
	os.Stderr = before
	writer.Close()
	logged, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if code != cli.CodeError || out.Len() > 0 || !strings.HasPrefix(errOut.String(), "error: ") || strings.Count(errOut.String(), "\n") != 1 {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	if len(logged) > 0 {
		t.Errorf("a library writes %q", logged)
	}
}
