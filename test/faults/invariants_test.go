package faults

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// ownerOf returns the name of the binding whose ownership tags a row carries, or "".
func (sim *simulation) ownerOf(row map[string]any) string {
	if row == nil {
		return ""
	}
	instance, _ := row["instance_name"].(string)
	for name := range sim.names {
		self := identity.Binding{Cluster: cluster, Namespace: sim.namespace, Name: name}
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

// uidOf returns the UID in the ownership tags of a row.
func uidOf(row map[string]any) string {
	for _, tag := range texts(row["tags"]) {
		if uid, ok := strings.CutPrefix(tag, "k8s-uid:"); ok {
			return uid
		}
	}
	return ""
}

// checkWrite checks a write before Kong receives it.
func (sim *simulation) checkWrite(c *kongCall) {
	what := c.request.Method + " " + sim.abbreviate(c.request.URL.Path)
	if sim.readFailed {
		sim.violation("%s in a reconcile in which a read from Kong failed", what)
	}
	id := c.request.URL.Path[strings.LastIndex(c.request.URL.Path, "/")+1:]
	have := sim.kong.server.Plugin(id)
	if c.request.Method != http.MethodPost && have != nil && sim.ownerOf(have) == "" && !sim.adoptable[id] && !sim.removableOrphans[id] {
		sim.violation("%s changes a plugin of another owner: %v", what, have["tags"])
	}
	if c.request.Method == http.MethodDelete {
		return
	}
	var body map[string]any
	if err := json.Unmarshal(c.body, &body); err != nil {
		sim.violation("%s: %v", what, err)
		return
	}
	owner := sim.ownerOf(body)
	if owner == "" { // the operator removes its ownership tags
		return
	}
	sim.checkLive(what, owner, c.request.Method == http.MethodPost, have != nil)
}

// checkLive checks the binding for which the operator writes.
func (sim *simulation) checkLive(what, name string, post, exists bool) {
	binding := asBinding(sim.stored[sim.bindingID(name)])
	switch {
	case binding == nil:
		if !exists {
			sim.violation("%s creates a plugin for %s, which does not exist", what, name)
		}
		return
	case !controllerutil.ContainsFinalizer(binding, v1alpha1.PluginFinalizer):
		sim.violation("%s before %s has the finalizer", what, name)
	case post && binding.Status.PluginID != "":
		sim.violation("%s although %s has the ID %s", what, name, binding.Status.PluginID)
	case !exists && !binding.DeletionTimestamp.IsZero():
		sim.violation("%s creates a plugin for %s, which is being deleted", what, name)
	}
}

// checkReady compares a status that says Ready with what Kong holds at this moment.
func (sim *simulation) checkReady(binding *v1alpha1.PluginBinding) {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != "True" || ready.ObservedGeneration != binding.Generation {
		return
	}
	if why := sim.differenceFromDeclared(binding); why != "" {
		sim.violation("%s is set to Ready: %s", binding.Name, why)
	}
}

// differenceFromDeclared returns how Kong differs from what a binding declares, or "".
func (sim *simulation) differenceFromDeclared(binding *v1alpha1.PluginBinding) string {
	row := sim.kong.server.Plugin(string(binding.Status.PluginID))
	spec := &binding.Spec
	switch {
	case binding.Status.PluginID == "":
		return "no ID is recorded"
	case row == nil:
		return "Kong has no plugin " + string(binding.Status.PluginID)
	case row["name"] != string(spec.Plugin):
		return fmt.Sprintf("Kong has plugin %v", row["name"])
	case sim.ownerOf(row) != binding.Name:
		return fmt.Sprintf("the plugin in Kong has the tags %v", row["tags"])
	case row["enabled"] != (spec.Enabled == nil || *spec.Enabled):
		return "enabled differs"
	}
	if want, have := sim.declaredService(spec.Scope), refID(row["service"]); want != have {
		return fmt.Sprintf("the plugin applies to service %q, not to %q", have, want)
	}
	config, _ := row["config"].(map[string]any)
	for field, want := range sim.declaredConfig(binding) {
		if fmt.Sprint(config[field]) != fmt.Sprint(want) {
			return fmt.Sprintf("config.%s is %v, not %v", field, config[field], want)
		}
	}
	return ""
}

func refID(value any) string {
	ref, _ := value.(map[string]any)
	id, _ := ref["id"].(string)
	return id
}

func (sim *simulation) declaredService(scope *v1alpha1.Scope) string {
	if scope == nil || scope.Service == nil {
		return ""
	}
	service := sim.kong.server.Entity("services", string(scope.Service.Name))
	if service == nil {
		return "none"
	}
	return service["id"].(string)
}

// declaredConfig returns the config of a binding with its patches applied. All of them are at
// the first level.
func (sim *simulation) declaredConfig(binding *v1alpha1.PluginBinding) map[string]any {
	config := map[string]any{}
	if binding.Spec.Config != nil {
		sim.must(json.Unmarshal(binding.Spec.Config.Raw, &config))
	}
	for _, patch := range binding.Spec.ConfigPatches {
		config[strings.TrimPrefix(patch.Path, "/")] = sim.secretValue(patch.ValueFrom.SecretKeyRef.Name, patch.ValueFrom.SecretKeyRef.Key)
	}
	return config
}

// settle runs without faults until nothing is written on either side. With again, it then
// reconciles everything once more, and expects no write.
func (sim *simulation) settle(again bool) {
	for range 12 {
		if sim.countWrites(sim.runTwoResyncs) > 0 {
			continue
		}
		if !again {
			return
		}
		sim.enqueueAll()
		if n := sim.countWrites(sim.runTwoResyncs); n > 0 {
			sim.violation("%d writes when everything was reconciled once more", n)
		}
		return
	}
	sim.violation("the operator never stops writing")
}

// runTwoResyncs runs until two resyncs have ended, and until no binding waits for a later time.
// One resync is not enough: it may report a difference that the one before it reported too, and
// the next one does not. A resync that took long delays the next one.
func (sim *simulation) runTwoResyncs() {
	const round, most = 68 * time.Second, 15 * time.Minute
	start, end := sim.resyncs, sim.clock.Now().Add(most)
	for sim.runFor(2 * round); sim.resyncs < start+2 && len(sim.queue) > 0 && sim.clock.Now().Before(end); {
		sim.runFor(round)
	}
	until := sim.clock.Now()
	for id, appointment := range sim.queue {
		if id.kind == kindBinding && appointment.at.After(until) {
			until = appointment.at
		}
	}
	sim.runUntil(until)
}

// countWrites counts the writes on both sides during a function.
func (sim *simulation) countWrites(do func()) int {
	mark, before := sim.kong.server.Journal().Mark(), sim.kubeWrites
	do()
	return len(sim.kong.server.Journal().Since(mark).Writes()) + sim.kubeWrites - before
}

// checkInvariants walks through the journal of the run.
func (sim *simulation) checkInvariants(madeAgain bool) {
	held := map[string]map[string]bool{} // IDs by binding
	firstOfName := map[string]string{}   // the first ID of a binding
	firstOfUID := map[string]string{}    // the same by UID
	posts := map[string]int{}            // done, by UID
	methods := map[int]string{}
	for _, request := range sim.kong.server.Journal().Requests() {
		methods[request.Seq] = request.Method
	}
	for _, change := range sim.kong.server.Journal().Changes() {
		sim.checkChange(change)
		if change.Entity != "plugins" {
			continue
		}
		for name := range held {
			delete(held[name], change.ID)
		}
		owner := sim.ownerOf(change.After)
		if owner == "" {
			continue
		}
		if held[owner] == nil {
			held[owner] = map[string]bool{}
		}
		held[owner][change.ID] = true
		if len(held[owner]) > 1 {
			sim.violation("Kong holds %d plugins of %s at the same time", len(held[owner]), owner)
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
			sim.violation("%d POSTs were applied for the binding with the UID %s", n, uid)
		}
	}
	for _, row := range sim.kong.server.Plugins() {
		owner := sim.ownerOf(row)
		if owner == "" {
			continue
		}
		first := firstOfName[owner]
		if madeAgain {
			first = firstOfUID[uidOf(row)]
		}
		if row["id"] != first {
			sim.violation("the plugin of %s has the ID %v; the first that Kong assigned is %s", owner, row["id"], first)
		}
	}
}

// checkChange checks that the operator owned the row that it changed.
func (sim *simulation) checkChange(change kongtest.Change) {
	if change.Actor != kongtest.ActorAPI {
		return
	}
	ours := sim.ownerOf(change.Before) != "" || sim.adoptable[change.ID] || sim.removableOrphans[change.ID]
	switch {
	case change.Entity != "plugins":
		sim.violation("operator: %s of %s", change.Kind, change.Entity)
	case change.Kind == "create" && sim.ownerOf(change.After) == "":
		sim.violation("the operator created a plugin without ownership tags")
	case change.Kind != "create" && !ours:
		sim.violation("operator: %s of plugin %s of another owner (tags %v)", change.Kind, change.ID, change.Before["tags"])
	}
}

// checkStatus compares the final status of the bindings with what Kong holds.
func (sim *simulation) checkStatus() {
	for _, id := range sim.stored.sorted(kindBinding) {
		binding := asBinding(sim.stored[id])
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		why := sim.differenceFromDeclared(binding)
		isReady := ready != nil && ready.Status == "True" && ready.ObservedGeneration == binding.Generation
		if isReady && why != "" {
			sim.violation("%s is Ready at the end: %s", binding.Name, why)
		}
		if !isReady && why == "" {
			sim.violation("%s is not Ready at the end, and Kong holds its plugin as declared: %+v", binding.Name, ready)
		}
	}
	for _, secret := range sim.secrets {
		for _, text := range sim.outputs {
			if strings.Contains(text, secret) {
				sim.violation("the operator shows a value of a Secret: %s", text)
				return
			}
		}
	}
}

// endState returns the final state, without what differs between two runs: times, random IDs,
// and how an ID came to be recorded.
func (sim *simulation) endState() string {
	state := map[string]any{}
	replace := append([]string{sim.namespace, "NS"}, sim.replacements...)
	for _, id := range sim.stored.sorted(kindBinding) {
		binding := asBinding(sim.stored[id])
		replace = append(replace, string(binding.UID), "UID")
		if plugin := string(binding.Status.PluginID); plugin != "" {
			replace = append(replace, plugin, "ID of "+binding.Name)
		}
		state["binding "+id.Name] = describeBinding(binding)
	}
	for _, id := range sim.stored.sorted(kindGateway) {
		gw := sim.stored[id].(*v1alpha1.KongGateway)
		state["gateway "+id.Name] = map[string]any{
			"finalizers": gw.Finalizers, "bindings": gw.Status.Bindings, "conditions": describeConditions(gw),
		}
		if last := gw.Status.LastResync; last != nil {
			state["resync "+id.Name] = fmt.Sprintf("plugins %d, changed %d, orphaned %d", last.Plugins, last.Changed, last.Orphaned)
		}
	}
	for i, row := range sim.sortedPlugins() {
		state[fmt.Sprintf("plugin %d", i)] = row
	}
	text, err := json.MarshalIndent(state, "", "  ")
	sim.must(err)
	return uidTag.ReplaceAllString(strings.NewReplacer(replace...).Replace(string(text)), "k8s-uid:any")
}

// uidTag is the ownership tag with a UID. The one of a binding that was restored may stay as it is: it
// alone is no difference.
var uidTag = regexp.MustCompile(`k8s-uid:[^"]+`)

// sortedPlugins returns Kong's plugins without times, the operator's after all others.
func (sim *simulation) sortedPlugins() []map[string]any {
	rows := sim.kong.server.Plugins()
	slices.SortStableFunc(rows, func(a, b map[string]any) int {
		return cmp.Or(strings.Compare(sim.ownerOf(a), sim.ownerOf(b)), strings.Compare(fmt.Sprint(a["name"]), fmt.Sprint(b["name"])))
	})
	for _, row := range rows {
		tags := texts(row["tags"])
		sortSets(row)
		if sim.ownerOf(row) != "" || sim.adoptable[fmt.Sprint(row["id"])] || len(tags) == 0 {
			delete(row, "created_at")
			delete(row, "updated_at")
		}
	}
	return rows
}

// sortSets sorts every list, because Kong returns sets in any order.
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
