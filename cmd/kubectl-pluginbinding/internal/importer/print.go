package importer

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// PrintYAML writes the Secrets, and then the objects that refer to them, as YAML documents. With
// values, the Secrets have the values of Kong. Without, they have none, and comments say which to fill
// in: until then the operator finds no value, and writes nothing to Kong.
func PrintYAML(w io.Writer, secrets []Secret, result Result, values bool) error {
	var documents []string
	for _, secret := range secrets {
		document, err := yaml.Marshal(secret.object(values))
		if err != nil {
			return err
		}
		text := string(document)
		if !values {
			text += secret.placeholders()
		}
		documents = append(documents, text)
	}
	for _, object := range result.Objects {
		plain, err := plainObject(object)
		if err != nil {
			return err
		}
		document, err := yaml.Marshal(plain)
		if err != nil {
			return err
		}
		documents = append(documents, string(document))
	}
	_, err := io.WriteString(w, strings.Join(documents, "---\n"))
	return err
}

// List is everything as one list, for JSON.
func List(secrets []Secret, result Result, values bool) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
	for _, secret := range secrets {
		list.Items = append(list.Items, unstructured.Unstructured{Object: secret.object(values)})
	}
	for _, object := range result.Objects {
		plain, err := plainObject(object)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, unstructured.Unstructured{Object: plain})
	}
	return list, nil
}

// plainObject is an object without what only the API server writes.
func plainObject(object any) (map[string]any, error) {
	plain, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	delete(plain, "status")
	unstructured.RemoveNestedField(plain, "metadata", "creationTimestamp")
	return plain, nil
}

func (s *Secret) object(values bool) map[string]any {
	object := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": s.Namespace, "name": s.Name},
	}
	if values {
		data := map[string]any{}
		for key, value := range s.Values {
			data[key] = string(value)
		}
		object["stringData"] = data
	}
	return object
}

// placeholders are the comments that say what to fill in.
func (s *Secret) placeholders() string {
	var b bytes.Buffer
	b.WriteString("stringData: {}\n# Fill in these values, or run the import again with --secrets-file. Until then nothing is written to Kong.\n")
	for _, key := range slices.Sorted(maps.Keys(s.Fields)) {
		field := "config" + strings.ReplaceAll(s.Fields[key], "/", ".")
		fmt.Fprintf(&b, "#  %s: the value of %s\n", key, printable(field))
	}
	return b.String()
}

// Report says in words what the objects do not say, and what to do beside applying them.
func Report(w io.Writer, in Input, result Result, secretsIn string) {
	r := &reporter{w: w}
	r.line("%s for %s; %s already.", count(len(result.Objects), "object"), count(result.Imported, "plugin"), isBound(result.Bound))
	if n := len(result.Secrets); n > 0 && secretsIn == "" {
		r.line("%s no values. Fill them in, or use --secrets-file.", hasNone(n))
	} else if n > 0 {
		r.line("%s with values: %s. Apply this file first, and keep it out of Git.", count(n, "Secret"), secretsIn)
	}
	listed := map[string]bool{}
	for _, removal := range result.Remove {
		listed[removal.ID] = removal.Refused != ""
	}
	for _, u := range result.Unsaid {
		if listed[u.ID] {
			continue // among the removals
		}
		word := "Not said"
		if u.LeftOut {
			word = "Left out"
		}
		r.line("%s: %s: %s.", word, strings.TrimSpace(u.Plugin+" "+inBrackets(u.ID)), u.Why)
	}
	r.claimed(result)
	if in.State != nil {
		r.removals(in, result)
	}
	if in.Source == FromUnowned || in.Source == FromAll {
		r.terraform(in, result)
	}
}

type reporter struct{ w io.Writer }

func (r *reporter) line(format string, args ...any) {
	fmt.Fprintln(r.w, printable(fmt.Sprintf(format, args...)))
}

// printable replaces what would control a terminal: names come from Kong and from files.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

// quoted is a word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func isBound(n int) string {
	if n == 1 {
		return "1 plugin is bound"
	}
	return fmt.Sprintf("%d plugins are bound", n)
}

func hasNone(n int) string {
	if n == 1 {
		return "1 Secret has"
	}
	return fmt.Sprintf("%d Secrets have", n)
}

func inBrackets(id string) string {
	if id == "" {
		return ""
	}
	return "(" + id + ")"
}

// claimed says what to do about plugins that the ingress controller still wants.
func (r *reporter) claimed(result Result) {
	if len(result.Claimed) == 0 {
		return
	}
	r.line("Kong's ingress controller still wants these plugins:")
	for _, claimed := range result.Claimed {
		r.line("  %s  ->  %s", claimed.By, claimed.Object)
	}
	r.line("Apply the objects, wait until they are Ready and 6 s more, and then remove the names from the annotations; or let kubectl pluginbinding handover kic do it.")
}

// removals says what to take out of the state of decK or Terraform.
func (r *reporter) removals(in Input, result Result) {
	state := in.State
	if len(result.Remove) > 0 {
		r.line("Take out of %s:", strings.Join(state.Files, ", "))
	}
	for _, removal := range result.Remove {
		what := removal.Object
		if what == "" {
			what = "refused"
		}
		if state.Tool == toolTerraform {
			r.line("  terraform state rm %s  # plugin %s  ->  %s", quoted(removal.Entry.Address), removal.ID, what)
			continue
		}
		r.line("  %s  # plugin %s  ->  %s", removal.Entry.Address, removal.ID, what)
	}
	if refused := refusedOf(result); refused > 0 {
		r.line("%s refused, because the next run of %s would delete what it no longer lists. %s, and run this again with --i-removed-it.",
			isOrAre(refused), state.Tool, afterRemoval(state))
	}
	r.warnings(in, result)
}

func refusedOf(result Result) (n int) {
	for _, u := range result.Unsaid {
		if strings.HasPrefix(u.Why, "the next run of ") {
			n++
		}
	}
	return n
}

func isOrAre(n int) string {
	if n == 1 {
		return "1 plugin is"
	}
	return fmt.Sprintf("%d plugins are", n)
}

func afterRemoval(state *State) string {
	if state.Tool == toolTerraform {
		return "Run these commands, take the resources out of the configuration"
	}
	return "Stop whatever runs decK, take the entries out of the files"
}

// warnings say which command must not run, and when it may again.
func (r *reporter) warnings(in Input, result Result) {
	state := in.State
	if result.Imported+refusedOf(result) == 0 && len(state.SelectTags) > 0 {
		return
	}
	if state.Tool == toolTerraform {
		r.line("Do not run `terraform apply` before the state is without them: it would change or delete what the bindings hold.")
		return
	}
	command := "deck gateway sync " + strings.Join(state.Files, " ")
	if len(state.SelectTags) == 0 {
		r.line("The files have no _info.select_tags: `%s` deletes every plugin of the workspace that they do not list, those of bindings as well. "+
			"Give the files select_tags (deck file add-tags), and do not run it without them any more.", command)
		return
	}
	r.line("Do not run `%s` before the entries are out of the files and the objects are Ready: it would delete the plugins, which still have the %s %s. "+
		"The operator's first write takes the tags off. Then `deck gateway diff %s` shows no change for them, and decK may run again.",
		command, plural(len(state.SelectTags), "tag"), strings.Join(state.SelectTags, ", "), strings.Join(state.Files, " "))
	for _, removal := range result.Remove {
		if in.Removed && removal.Object != "" {
			r.line("The files still list entries: with them, `%s` fails with status 409, and overwrites plugins whose entries have an id.", command)
			return
		}
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// terraform says how to find out whether Terraform made a plugin: nothing in Kong tells.
func (r *reporter) terraform(in Input, result Result) {
	var ids []string
	unowned := map[string]bool{}
	for _, row := range in.Kong.Plugins {
		unowned[row.ID] = ownerOf(row, in.Cluster).IsZero()
	}
	for _, object := range result.Objects {
		if id := importedID(object); unowned[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	r.line("Nothing in Kong tells whether Terraform made a plugin. If it may have, run this before you apply. It fails for a plugin that Terraform does not have:")
	for _, id := range ids {
		r.line("  terraform state rm \"$(terraform state list -id=%s)\"", id)
	}
}

func importedID(object metav1.Object) string {
	if binding, ok := object.(*v1alpha1.PluginBinding); ok {
		return string(binding.Spec.PluginID)
	}
	return ""
}
