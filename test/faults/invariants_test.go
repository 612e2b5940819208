package faults

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// ownerOf names the binding of this play whose marks a row bears, "" if there is none.
func (w *world) ownerOf(row map[string]any) string {
	if row == nil {
		return ""
	}
	instance, _ := row["instance_name"].(string)
	for name := range w.names {
		self := identity.Binding{Cluster: cluster, Namespace: w.namespace, Name: name}
		if standing, _ := identity.OwnershipOf(self, texts(row["tags"]), instance); standing == identity.Owned {
			return name
		}
	}
	return ""
}

func texts(value any) []string {
	var all []string
	list, _ := value.([]any)
	for _, element := range list {
		if text, ok := element.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// uidOf is the UID in the marks of a row.
func uidOf(row map[string]any) string {
	for _, tag := range texts(row["tags"]) {
		if uid, ok := strings.CutPrefix(tag, "k8s-uid:"); ok {
			return uid
		}
	}
	return ""
}

// checkWrite looks at a write to Kong before Kong has it.
func (w *world) checkWrite(c *kongCall) {
	what := c.request.Method + " " + w.shortened(c.request.URL.Path)
	if w.readFailed {
		w.violation("%s in a pass in which Kong had not answered a question", what)
	}
	id := c.request.URL.Path[strings.LastIndex(c.request.URL.Path, "/")+1:]
	have := w.bench.server.Plugin(id)
	if c.request.Method != http.MethodPost && have != nil && w.ownerOf(have) == "" && !w.taken[id] && !w.ghosts[id] {
		w.violation("%s touches what is not ours: %v", what, have["tags"])
	}
	if c.request.Method == http.MethodDelete {
		return
	}
	var body map[string]any
	if err := json.Unmarshal(c.body, &body); err != nil {
		w.violation("%s: %v", what, err)
		return
	}
	owner := w.ownerOf(body)
	if owner == "" { // our marks are being taken off
		return
	}
	w.checkLive(what, owner, c.request.Method == http.MethodPost, have != nil)
}

// checkLive looks at the binding for which something is written.
func (w *world) checkLive(what, name string, post, exists bool) {
	binding := asBinding(w.truth[w.bindingID(name)])
	switch {
	case binding == nil:
		if !exists {
			w.violation("%s makes a plugin for %s, which does not exist", what, name)
		}
		return
	case !controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer):
		w.violation("%s before %s has the finalizer", what, name)
	case post && binding.Status.PluginID != "":
		w.violation("%s although %s has the ID %s", what, name, binding.Status.PluginID)
	case !exists && !binding.DeletionTimestamp.IsZero():
		w.violation("%s makes a plugin for %s, which is being deleted", what, name)
	}
}

// checkReady holds Ready against what Kong has at this moment.
func (w *world) checkReady(binding *v1alpha1.PluginBinding) {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != "True" || ready.ObservedGeneration != binding.Generation {
		return
	}
	if why := w.notAsDeclared(binding); why != "" {
		w.violation("%s is written as Ready: %s", binding.Name, why)
	}
}

// notAsDeclared says in what Kong differs from what a binding declares, "" if in nothing.
func (w *world) notAsDeclared(binding *v1alpha1.PluginBinding) string {
	row := w.bench.server.Plugin(string(binding.Status.PluginID))
	spec := &binding.Spec
	switch {
	case binding.Status.PluginID == "":
		return "no ID is recorded"
	case row == nil:
		return "Kong has no plugin " + string(binding.Status.PluginID)
	case row["name"] != string(spec.Plugin):
		return fmt.Sprintf("Kong has %v", row["name"])
	case w.ownerOf(row) != binding.Name:
		return fmt.Sprintf("Kong's has the marks %v", row["tags"])
	case row["enabled"] != (spec.Enabled == nil || *spec.Enabled):
		return "enabled differs"
	}
	if want, have := w.declaredService(spec.Scope), refID(row["service"]); want != have {
		return fmt.Sprintf("it applies to service %q and not %q", have, want)
	}
	config, _ := row["config"].(map[string]any)
	for field, want := range w.declaredConfig(binding) {
		if fmt.Sprint(config[field]) != fmt.Sprint(want) {
			return fmt.Sprintf("config.%s is %v and not %v", field, config[field], want)
		}
	}
	return ""
}

func refID(value any) string {
	ref, _ := value.(map[string]any)
	id, _ := ref["id"].(string)
	return id
}

func (w *world) declaredService(scope *v1alpha1.Scope) string {
	if scope == nil || scope.Service == nil {
		return ""
	}
	service := w.bench.server.Entity("services", string(scope.Service.Name))
	if service == nil {
		return "none"
	}
	return service["id"].(string)
}

// declaredConfig is the config of a binding with its patches, all at the first level.
func (w *world) declaredConfig(binding *v1alpha1.PluginBinding) map[string]any {
	config := map[string]any{}
	if binding.Spec.Config != nil {
		w.must(json.Unmarshal(binding.Spec.Config.Raw, &config))
	}
	for _, patch := range binding.Spec.ConfigPatches {
		config[strings.TrimPrefix(patch.Path, "/")] = w.secretValue(patch.ValueFrom.SecretKeyRef.Name, patch.ValueFrom.SecretKeyRef.Key)
	}
	return config
}

// settle runs without faults until it is quiet: no write on either side, also after
// everything was looked at once more (again).
func (w *world) settle(again bool) {
	for range 12 {
		if w.writes(w.sweeps) > 0 {
			continue
		}
		if !again {
			return
		}
		w.enqueueAll()
		if n := w.writes(w.sweeps); n > 0 {
			w.violation("%d writes when everything was looked at once more", n)
		}
		return
	}
	w.violation("it never is quiet")
}

// sweeps runs over at least two readings of Kong (the first may see something that the one
// before it saw too, and the second not), which come later after one that took long, and
// until no binding waits any more for a time that comes later than that.
func (w *world) sweeps() {
	const round, most = 68 * time.Second, 15 * time.Minute
	start, end := w.readings, w.clock.Now().Add(most)
	for w.runFor(2 * round); w.readings < start+2 && len(w.due) > 0 && w.clock.Now().Before(end); {
		w.runFor(round)
	}
	until := w.clock.Now()
	for id, appointment := range w.due {
		if id.kind == kindBinding && appointment.at.After(until) {
			until = appointment.at
		}
	}
	w.run(until)
}

// writes counts those of both sides while something is done.
func (w *world) writes(do func()) int {
	mark, before := w.bench.server.Journal().Mark(), w.kubeWrites
	do()
	return len(w.bench.server.Journal().Since(mark).Writes()) + w.kubeWrites - before
}

// audit walks the journal of the play.
func (w *world) audit(madeAgain bool) {
	held := map[string]map[string]bool{} // IDs by binding
	firstOfName := map[string]string{}   // the first ID of a binding
	firstOfUID := map[string]string{}    // the same by UID
	posts := map[string]int{}            // done, by UID
	methods := map[int]string{}
	for _, request := range w.bench.server.Journal().Requests() {
		methods[request.Seq] = request.Method
	}
	for _, change := range w.bench.server.Journal().Changes() {
		w.auditChange(change)
		if change.Entity != "plugins" {
			continue
		}
		for name := range held {
			delete(held[name], change.ID)
		}
		owner := w.ownerOf(change.After)
		if owner == "" {
			continue
		}
		if held[owner] == nil {
			held[owner] = map[string]bool{}
		}
		held[owner][change.ID] = true
		if len(held[owner]) > 1 {
			w.violation("Kong holds %d plugins of %s at once", len(held[owner]), owner)
		}
		if firstOfName[owner] == "" {
			firstOfName[owner] = change.ID
		}
		uid := uidOf(change.After)
		if firstOfUID[uid] == "" {
			firstOfUID[uid] = change.ID
		}
		if change.Kind == "create" && methods[change.Request] == http.MethodPost {
			posts[uid]++
		}
	}
	for uid, n := range posts {
		if n > 1 {
			w.violation("%d POSTs were done for the binding with the UID %s", n, uid)
		}
	}
	for _, row := range w.bench.server.Plugins() {
		owner := w.ownerOf(row)
		if owner == "" {
			continue
		}
		first := firstOfName[owner]
		if madeAgain {
			first = firstOfUID[uidOf(row)]
		}
		if row["id"] != first {
			w.violation("the plugin of %s has the ID %v; the first that Kong gave is %s", owner, row["id"], first)
		}
	}
}

// auditChange holds one change by the operator against whose row it was.
func (w *world) auditChange(change kongtest.Change) {
	if change.Actor != kongtest.ActorAPI {
		return
	}
	ours := w.ownerOf(change.Before) != "" || w.taken[change.ID] || w.ghosts[change.ID]
	switch {
	case change.Entity != "plugins":
		w.violation("the operator made a %s of %s", change.Kind, change.Entity)
	case change.Kind == "create" && w.ownerOf(change.After) == "":
		w.violation("the operator made a plugin without its marks")
	case change.Kind != "create" && !ours:
		w.violation("the operator made a %s of somebody else's %s (tags %v)", change.Kind, change.ID, change.Before["tags"])
	}
}

// auditStatus holds what the bindings say at the end against what Kong holds.
func (w *world) auditStatus() {
	for _, id := range w.truth.sorted(kindBinding) {
		binding := asBinding(w.truth[id])
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		why := w.notAsDeclared(binding)
		isReady := ready != nil && ready.Status == "True" && ready.ObservedGeneration == binding.Generation
		if isReady && why != "" {
			w.violation("%s is Ready at the end: %s", binding.Name, why)
		}
		if !isReady && why == "" {
			w.violation("%s is not Ready at the end, and Kong holds its plugin as declared: %+v", binding.Name, ready)
		}
	}
	for _, secret := range w.secrets {
		for _, text := range w.texts {
			if strings.Contains(text, secret) {
				w.violation("a value of a Secret is told: %s", text)
				return
			}
		}
	}
}

// endState is what is left, without what differs between two runs: times, random IDs, and
// how an ID came to be recorded.
func (w *world) endState() string {
	state := map[string]any{}
	replace := append([]string{w.namespace, "NS"}, w.random...)
	for _, id := range w.truth.sorted(kindBinding) {
		binding := asBinding(w.truth[id])
		replace = append(replace, string(binding.UID), "UID")
		if plugin := string(binding.Status.PluginID); plugin != "" {
			replace = append(replace, plugin, "ID of "+binding.Name)
		}
		state["binding "+id.Name] = describeBinding(binding)
	}
	for _, id := range w.truth.sorted(kindGateway) {
		gw := w.truth[id].(*v1alpha1.KongGateway)
		state["gateway "+id.Name] = map[string]any{
			"finalizers": gw.Finalizers, "bindings": gw.Status.Bindings, "conditions": describeConditions(gw),
		}
		if sweep := gw.Status.LastResync; sweep != nil {
			state["sweep "+id.Name] = fmt.Sprintf("plugins %d, drifted %d, orphaned %d", sweep.Plugins, sweep.Changed, sweep.Orphaned)
		}
	}
	for i, row := range w.rowsInOrder() {
		state[fmt.Sprintf("plugin %d", i)] = row
	}
	text, err := json.MarshalIndent(state, "", "  ")
	w.must(err)
	return strings.NewReplacer(replace...).Replace(string(text))
}

// rowsInOrder are Kong's plugins without times, ours after everybody else's.
func (w *world) rowsInOrder() []map[string]any {
	rows := w.bench.server.Plugins()
	slices.SortStableFunc(rows, func(a, b map[string]any) int {
		return cmp.Or(strings.Compare(w.ownerOf(a), w.ownerOf(b)), strings.Compare(fmt.Sprint(a["name"]), fmt.Sprint(b["name"])))
	})
	for _, row := range rows {
		tags := texts(row["tags"])
		sortSets(row)
		if w.ownerOf(row) != "" || w.taken[fmt.Sprint(row["id"])] || len(tags) == 0 {
			delete(row, "created_at")
			delete(row, "updated_at")
		}
	}
	return rows
}

// sortSets puts every list of words in order: Kong answers sets in any.
func sortSets(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, element := range value {
			sortSets(element)
		}
	case []any:
		slices.SortFunc(value, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}

func describeBinding(binding *v1alpha1.PluginBinding) map[string]any {
	status := &binding.Status
	return map[string]any{
		"finalizers": binding.Finalizers, "pluginID": status.PluginID, "gateway": status.Gateway, "scope": status.Scope,
		"conflict": status.Conflict, "observedGeneration": status.ObservedGeneration, "conditions": describeConditions(binding),
	}
}

func describeConditions(object any) map[string]string {
	var list = map[string]string{}
	switch object := object.(type) {
	case *v1alpha1.PluginBinding:
		for _, c := range object.Status.Conditions {
			list[c.Type] = fmt.Sprintf("%s %s (%d): %s", c.Status, c.Reason, c.ObservedGeneration, c.Message)
		}
	case *v1alpha1.KongGateway:
		for _, c := range object.Status.Conditions {
			list[c.Type] = fmt.Sprintf("%s %s (%d): %s", c.Status, c.Reason, c.ObservedGeneration, c.Message)
		}
	}
	return list
}
