package importer

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

func sortedRows(rows []plugin.Plugin) []plugin.Plugin {
	return slices.SortedFunc(slices.Values(rows), func(a, b plugin.Plugin) int { return cmp.Compare(a.ID, b.ID) })
}

// consider decides about one row of Kong. The first case that fits decides:
//
//	the row                                                   the import
//	belongs to another namespace                              skips it
//	is bound, or an object says it already                    counts it
//	is a binding's of this or another cluster                 says so
//	is the ingress controller's, which was asked for          imports it, see considerKIC
//	is another tool's                                         says so, if everything was asked for
//	is in the state of decK or Terraform, or managed by decK  imports it, see considerEntry
//	has no owner, which was asked for                         imports it
func (p *planner) consider(row plugin.Plugin) {
	source, isKICs := sourceOf(row)
	it := &item{row: row, source: source, scope: scopeOf(row.Scope, &p.in.Kong)}
	owner := ownerOf(row, p.in.Cluster)
	isKICs = isKICs || owner.Tool == toolKIC
	if !p.place(it, isKICs) {
		return
	}
	entry := p.entries[row.ID]
	switch {
	case p.isBound(it):
		p.result.Bound++
	case owner.Binding != nil:
		p.leaveOwned(it, owner)
	case isKICs:
		p.considerKIC(it, entry)
	case owner.Tool != "":
		if entry != nil || p.in.Source == FromAll {
			p.leave(it, "%s manages it, as its tags say", owner.Describe(p.in.Cluster))
		}
	case p.in.State != nil:
		p.considerEntry(it, entry)
	case p.in.Source == FromUnowned || p.in.Source == FromAll:
		p.add(it, nil)
	}
}

const toolKIC = "ingress-controller"

// place finds the namespace of a row's object. It returns false if that was not asked for.
func (p *planner) place(it *item, isKICs bool) bool {
	if isKICs {
		if objects, all := objectsBehind(it.row.Scope, &p.in.Kong); all && len(objects) > 0 {
			it.target, it.namespace = objects[0].Object, objects[0].Namespace
		}
	}
	if it.namespace == "" {
		it.namespace = cmp.Or(tagNamespace(it.row.Scope, &p.in.Kong), p.in.Target, p.in.Namespace, p.in.Gateway.Namespace)
	}
	return p.in.Namespace == "" || it.namespace == p.in.Namespace
}

func (p *planner) leave(it *item, format string, args ...any) {
	p.result.Unsaid = append(p.result.Unsaid, unsaid(it.row, &p.in.Kong, true, format, args...))
}

// leaveOwned is for a row that a binding owns and none has recorded.
func (p *planner) leaveOwned(it *item, owner identity.Owner) {
	if owner.Binding.Cluster != p.in.Cluster {
		p.leave(it, "it belongs to %s", owner.Describe(p.in.Cluster))
		return
	}
	exists := slices.ContainsFunc(p.in.Kube.Bindings, func(b v1alpha1.PluginBinding) bool {
		return b.Namespace == owner.Binding.Namespace && b.Name == owner.Binding.Name
	})
	if exists {
		p.result.Bound++
		return
	}
	p.leave(it, "it belongs to %s, which does not exist; see kubectl pluginbinding doctor", owner.Describe(p.in.Cluster))
}

// isBound reports whether an object of the cluster stands for the row already.
func (p *planner) isBound(it *item) bool {
	return p.bound.ids[it.row.ID] || p.bound.places[it.row.Name+" "+reference.ScopeSummary(it.scope)] || p.bound.shadows[shadowOf(it.row.Name, it.row.Scope)] ||
		it.isKIC() && slices.ContainsFunc(p.in.Kube.Policies, func(policy v1alpha1.PluginPolicy) bool { return targets(&policy, it) })
}

// bound is what the bindings of the cluster stand for.
type bound struct {
	ids, places map[string]bool
	// shadows are plugins on a route and its service: beside one of the ingress controller on the route.
	shadows map[string]bool
}

func newBound(bindings []v1alpha1.PluginBinding) bound {
	b := bound{ids: map[string]bool{}, places: map[string]bool{}, shadows: map[string]bool{}}
	for i := range bindings {
		binding := &bindings[i]
		name := string(binding.Spec.Plugin)
		b.ids[string(binding.Status.PluginID)], b.ids[string(binding.Spec.PluginID)] = true, true
		b.places[name+" "+reference.ScopeSummary(binding.Spec.Scope)] = true
		if scope := binding.Status.Scope; scope != nil && scope.RouteID != "" && scope.ServiceID != "" {
			resolved := reference.BoundScope(scope)
			resolved.ServiceID = ""
			b.shadows[shadowOf(name, resolved)] = true
		}
	}
	return b
}

func shadowOf(name string, scope plugin.Scope) string {
	if scope.RouteID == "" || scope.ServiceID != "" {
		return ""
	}
	return name + " " + reference.ResolvedPlace("", scope.RouteID, scope.ConsumerID, scope.ConsumerGroupID)
}

// targets reports whether a policy stands for a row of the ingress controller.
func targets(policy *v1alpha1.PluginPolicy, it *item) bool {
	ref, ok := targetRef(it.target)
	consumer := policy.Spec.Template.Spec.Scope
	return ok && policy.Namespace == it.target.Namespace && string(policy.Spec.Template.Spec.Plugin) == it.row.Name &&
		slices.Contains(policy.Spec.TargetRefs, ref) &&
		(it.row.Scope.ConsumerID == "" || ref.Kind == "KongConsumer" || consumer != nil && reflect.DeepEqual(&consumer.Consumer, it.scope.Consumer))
}

// considerKIC decides about a row of the ingress controller. What it still wants passes over only where
// that cannot end its syncs.
func (p *planner) considerKIC(it *item, entry *Entry) {
	switch {
	case entry != nil:
		p.leave(it, "it is in %s, and Kong's ingress controller manages it; import it from kic", p.in.State.Files[0])
		return
	case p.in.Source != FromKIC && p.in.Source != FromAll:
		return
	case p.in.Kube.Problem != "":
		p.leave(it, "it is unknown whether Kong's ingress controller still wants it: %s", p.in.Kube.Problem)
		return
	}
	objects, _ := objectsBehind(it.row.Scope, &p.in.Kong)
	if it.row.Scope == (plugin.Scope{}) || len(objects) > 0 {
		it.claim = claimOn(it.row, objects, &p.in.Kube)
	}
	shadow := p.mustShadow(it) && p.in.Policies != PoliciesNever
	if it.claim != nil && !shadow && !hasKICsID(it.row, &p.in.Kong, string(p.in.Gateway.Spec.Workspace)) {
		p.leave(it, "%s, and the plugin has another ID than Kong's ingress controller would give it now: if a binding took it, "+
			"all syncs of the ingress controller would fail; use kubectl pluginbinding handover kic", it.claim)
		return
	}
	if !it.isKIC() {
		it.source = kic.Object{Kind: kic.KongPlugin, Name: it.row.Name} // its tags do not name it
	}
	p.add(it, p.in.Kube.KongPlugins[it.source])
}

// add imports a row.
func (p *planner) add(it *item, from *KongPlugin) {
	var dropped []string
	if p.in.State != nil {
		dropped = p.in.State.SelectTags
	}
	declared, err := declare(it.row, p.in.Kong.Schemas[it.row.Name], from, it.namespace, dropped)
	if err != nil {
		p.leave(it, "%s", err)
		if it.entry != nil {
			p.refuse(it, err.Error())
		}
		return
	}
	it.declaration = declared
	p.items = append(p.items, it)
}

// sameDeclaration reports whether one template says both.
func (i *item) sameDeclaration(other *item) bool {
	return reflect.DeepEqual(i.spec, other.spec) && reflect.DeepEqual(i.config, other.config)
}

// considerEntry decides about a row that decK or Terraform manages, or that decK would delete now: it has
// the tags, and the files do not have it any more.
func (p *planner) considerEntry(it *item, entry *Entry) {
	state := p.in.State
	it.entry = entry
	deletes := state.manages(it.row)
	if state.Tool == toolTerraform {
		deletes = true
	}
	switch {
	case entry == nil && (state.Tool == toolTerraform || !deletes):
		return // not of this state
	case deletes && !p.in.Removed:
		why := "the next run of " + state.Tool + " would delete it"
		if entry == nil {
			why += ": it has the tags of " + state.Tool + ", and the files do not list it"
		}
		p.leave(it, "%s", why)
		p.refuse(it, why)
	default:
		p.add(it, nil)
	}
}

func (p *planner) refuse(it *item, why string) {
	if it.entry != nil {
		p.result.Remove = append(p.result.Remove, Removal{Entry: *it.entry, ID: it.row.ID, Refused: why})
	}
}

const toolTerraform = "Terraform"

// matchEntries finds the row of each entry.
func (p *planner) matchEntries() {
	if p.in.State == nil {
		return
	}
	rows := indexRows(&p.in.Kong)
	for i := range p.in.State.Entries {
		entry := &p.in.State.Entries[i]
		switch id := rows.find(entry); {
		case id != "":
			p.entries[id] = entry
		case p.in.State.Tool != toolTerraform: // whose state has other things than plugins
			why := "Kong does not have it"
			if !entry.isNamed() {
				why = "the file does not name the entity that it is on, so that it cannot be found in Kong"
			}
			p.result.Unsaid = append(p.result.Unsaid, Unsaid{Plugin: entry.Address, LeftOut: true, Why: why})
		}
	}
}
