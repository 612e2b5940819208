package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/policy"
)

// Selection is what the command line names.
type Selection struct {
	// Namespace of the objects; empty for all.
	Namespace string
	// Resources name objects or KongPlugins, in any combination; none for all.
	Resources []kic.Object
	// GlobalNamespace is where the binding of a global plugin goes.
	GlobalNamespace string
}

// has reports whether a KongPlugin on an object is selected.
func (s Selection) has(attached, object kic.Object) bool {
	if s.Namespace != "" && object.Namespace != s.Namespace && (object.Name != "" || len(s.Resources) == 0 && attached.Kind == kic.KongPlugin) {
		return false
	}
	return len(s.Resources) == 0 || slices.ContainsFunc(s.Resources, func(named kic.Object) bool {
		return same(named, attached) || same(named, object)
	})
}

func same(named, object kic.Object) bool {
	return named.Kind == object.Kind && named.Name == object.Name && (object.Namespace == "" || named.Namespace == object.Namespace)
}

// Options of a hand-over.
type Options struct {
	Selection
	// KeepIDs keeps the ingress controller's IDs wherever that is possible.
	KeepIDs bool
	// AcceptPrecedence moves plugins although a plugin of the same name on a consumer is then no longer
	// preferred to them.
	AcceptPrecedence bool
	// Tag marks what the ingress controller made.
	Tag string
	// Batch is how many items move at a time.
	Batch int
	// PauseKIC is the Deployment of the ingress controller, as namespace/name, to stop meanwhile.
	PauseKIC string
	Timing   Timing
}

// Problem keeps an item, or everything, from moving.
type Problem struct {
	// About is what it concerns, for people.
	About string `json:"about"`
	Text  string `json:"text"`
}

func (p Problem) String() string { return p.About + ": " + p.Text }

// Plan is what a run would do.
type Plan struct {
	Items []*Item `json:"items"`
	// Unfinished are those that an interrupted run has begun. They come first.
	Unfinished []*Item `json:"unfinished,omitempty"`
	// Stopped is the Deployment of the ingress controller that an interrupted run has stopped.
	Stopped string `json:"stopped,omitempty"`
	// Notes are for people to know beforehand.
	Notes []string `json:"notes,omitempty"`
	// Problems have to be solved before anything is written.
	Problems []Problem `json:"problems,omitempty"`
}

// isEmpty reports whether there is nothing to do.
func (p *Plan) isEmpty() bool { return len(p.Items)+len(p.Unfinished) == 0 && p.Stopped == "" }

func (p *Plan) problem(about fmt.Stringer, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{about.String(), fmt.Sprintf(format, args...)})
}

func (p *Plan) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.Notes, text) {
		p.Notes = append(p.Notes, text)
	}
}

// planner makes plans.
type planner struct {
	kube    client.Client
	kong    Kong
	gateway *v1alpha1.KongGateway
	options Options
	survey  *survey
	plan    *Plan
}

// planHandover maps what the ingress controller has in Kong to items.
func (p *planner) planHandover(ctx context.Context) error {
	var err error
	if p.survey, err = takeSurvey(ctx, p.kong, p.options.Tag); err != nil {
		return err
	}
	attachments, lost := p.survey.attachments()
	for _, l := range lost {
		if p.options.has(l.plugin, kic.Object{Namespace: l.plugin.Namespace}) {
			p.plan.problem(rowName(l.row), "nobody can say what it belongs to: %s. Name the objects to hand over, or delete it in Kong", l.why)
		}
	}
	for _, a := range attachments {
		if !p.options.has(a.plugin, a.object) {
			continue
		}
		if err := p.addItem(ctx, a); err != nil {
			return err
		}
	}
	p.findCollisions()
	return nil
}

type rowName plugin.Plugin

func (r rowName) String() string { return "plugin " + r.ID + " (" + r.Name + ")" }

// addItem adds the item of an attachment, or the problems that it has.
func (p *planner) addItem(ctx context.Context, a *attachment) error {
	item := &Item{
		KongPlugin: refOf(a.plugin), Plugin: a.rows[0].Name, Way: p.wayOf(a),
		Namespace: a.object.Namespace, Name: nameOf(a), Gateway: client.ObjectKeyFromObject(p.gateway).String(),
	}
	if a.object.Name != "" {
		ref := refOf(a.object)
		item.Object = &ref
	} else {
		item.Namespace = p.options.GlobalNamespace
	}
	if p.isUnfinished(item) {
		return nil
	}
	for _, row := range a.rows {
		item.Rows = append(item.Rows, p.rowOf(row))
	}
	before := len(p.plan.Problems)
	p.checkShape(a, item)
	if err := p.checkObjects(ctx, a, item); err != nil {
		return err
	}
	p.checkPrecedence(item)
	p.checkTenancy(ctx, item)
	if len(p.plan.Problems) == before {
		if err := p.checkNames(ctx, item); err != nil {
			return err
		}
	}
	p.plan.Items = append(p.plan.Items, item)
	return nil
}

// isUnfinished reports whether an interrupted run has begun with the item.
func (p *planner) isUnfinished(item *Item) bool {
	return slices.ContainsFunc(p.plan.Unfinished, func(i *Item) bool { return i.key() == item.key() })
}

func (p *planner) rowOf(row plugin.Plugin) Row {
	s := row.Scope
	entity := p.survey.entities[s.RouteID+s.ServiceID+s.ConsumerID+s.ConsumerGroupID]
	return Row{ID: row.ID, Tags: row.Tags, Route: s.RouteID, Service: s.ServiceID, Consumer: s.ConsumerID, Group: s.ConsumerGroupID, Entity: entity.Name}
}

func (p *planner) wayOf(a *attachment) Way {
	scope := a.rows[0].Scope
	switch {
	case scope.RouteID == "" && scope.ServiceID == "":
		return TakeOver
	case p.options.KeepIDs:
		return SameID
	case scope.RouteID != "":
		return Beside
	default:
		return Service
	}
}

// checkShape refuses what the operator cannot say.
func (p *planner) checkShape(a *attachment, item *Item) {
	switch kind := (schema.GroupKind{Group: a.object.Group, Kind: a.object.Kind}); {
	case a.combined:
		p.plan.problem(item, "it is on consumers together with routes or services. When it leaves one of the two, the ingress controller applies it to all consumers, or all routes, of the other for a moment. Declare a PluginPolicy with template.spec.scope.consumer, wait until it is Ready and 6 s more, and then delete the KongPlugin")
	case a.object.Name != "" && policy.Kinds[kind] == "":
		p.plan.problem(item, "no PluginPolicy can have a %s as its target", a.object.Kind)
	}
	for _, row := range a.rows {
		if row.Name != item.Plugin {
			p.plan.problem(item, "it has plugins of two names in Kong, %s and %s; let the ingress controller sync first", item.Plugin, row.Name)
		}
	}
}

// checkObjects reads the KongPlugin and the object with the annotation.
func (p *planner) checkObjects(ctx context.Context, a *attachment, item *Item) error {
	m := &mover{kube: p.kube}
	declared, err := m.kongPluginOf(ctx, item)
	switch {
	case apierrors.IsNotFound(err):
		p.plan.problem(item, "%s does not exist any more. Let the ingress controller sync first", a.plugin)
		return nil
	case err != nil:
		return err
	}
	template, notes, err := translate(declared, item.Namespace)
	if err != nil {
		p.plan.problem(item, "%v", err)
	} else {
		p.checkSpec(ctx, item, &template)
	}
	for _, text := range notes {
		p.plan.note("%s: %s", item, text)
	}
	if name, _, _ := unstructured.NestedString(declared.Object, "plugin"); name != item.Plugin {
		p.plan.problem(item, "it declares the plugin %s, and Kong has %s. Let the ingress controller sync first", name, item.Plugin)
	}
	carrier, err := m.readCarrier(ctx, item)
	switch {
	case apierrors.IsNotFound(err), err == nil && a.object.Name != "" && carrier.UID != a.uid:
		p.plan.problem(item, "%s does not exist in this cluster. Another cluster may use this Kong", a.object)
		return nil
	case err != nil:
		return err
	}
	item.Annotation = item.valueOn(carrier)
	if !item.isAttached(item.Annotation) {
		ref, _, key := item.carrier()
		p.plan.problem(item, "%s of %s does not name it (any more). Let the ingress controller sync first", key, ref.object())
	}
	return nil
}

// checkSpec lets the API server check what the item would become.
func (p *planner) checkSpec(ctx context.Context, item *Item, template *v1alpha1.PluginTemplateSpec) {
	var object client.Object
	if item.takesOver() {
		object = item.finals(template)[0]
	} else {
		object = item.policy(item.Name, template, false)
	}
	err := p.kube.Create(ctx, object, client.DryRunAll)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		p.plan.problem(item, "the API server refuses what it would become: %v", err)
	}
}

// checkPrecedence finds plugins on consumers that Kong prefers to those of the item now and would not
// prefer any more: a plugin on a route together with its service comes before one on a consumer.
func (p *planner) checkPrecedence(item *Item) {
	if item.Way == TakeOver || p.options.AcceptPrecedence {
		return
	}
	for _, row := range p.survey.plugins {
		if row.Name == item.Plugin && row.Scope == (plugin.Scope{ConsumerID: row.Scope.ConsumerID}) && row.Scope.ConsumerID != "" {
			how := "on these routes"
			if item.hasShadows() {
				how = "on these routes, for the time of the hand-over"
			}
			p.plan.problem(item, "plugin %s of the same name is on a consumer, and Kong prefers it to the one on a route or service. It would not be preferred any more %s, because a plugin on a route together with its service comes first. To accept that, pass --accept-precedence", row.ID, how)
			return
		}
	}
}

// findCollisions finds items that would become the same.
func (p *planner) findCollisions() {
	names, places := map[string]*Item{}, map[string]*Item{}
	for _, item := range p.plan.Items {
		key := item.Namespace + "/" + item.Name
		if other := names[key]; other != nil {
			p.plan.problem(item, "it would get the same name, %s, as %s", key, other)
		}
		names[key] = item
		for _, row := range item.Rows {
			place := item.Plugin + row.Route + row.Service + row.Consumer + row.Group
			if other := places[place]; other != nil {
				p.plan.problem(item, "it has the same plugin in the same place as %s", other)
			}
			places[place] = item
		}
	}
}

// checkNames finds objects that already have a name of the item.
func (p *planner) checkNames(ctx context.Context, item *Item) error {
	for _, object := range []client.Object{&v1alpha1.PluginPolicy{}, &v1alpha1.PluginBinding{}} {
		err := p.kube.Get(ctx, types.NamespacedName{Namespace: item.Namespace, Name: item.Name}, object)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return err
		case !belongsTo(object, item):
			p.plan.problem(item, "%s %s/%s exists already, and is not of a hand-over of it. Rename or delete it", kindName(object), item.Namespace, item.Name)
		}
	}
	return nil
}

// planHandback finds what was handed over, by its records.
func (p *planner) planHandback(ctx context.Context) error {
	objects, err := p.recorded(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, object := range objects {
		item, ok := recordOf(object)
		if !ok || seen[item.key()] || item.Namespace != object.GetNamespace() || item.Gateway != client.ObjectKeyFromObject(p.gateway).String() {
			continue
		}
		on := kic.Object{}
		if item.Object != nil {
			on = item.Object.object()
		}
		if !p.options.has(item.KongPlugin.object(), on) || p.isUnfinished(item) {
			continue
		}
		seen[item.key()] = true
		item.Undoing = true
		p.plan.Items = append(p.plan.Items, item)
		if err := p.checkBack(ctx, item); err != nil {
			return err
		}
	}
	slices.SortStableFunc(p.plan.Items, func(a, b *Item) int { return strings.Compare(a.key(), b.key()) })
	return nil
}

// recorded are the policies, and the bindings that are not of a policy. What stands beside others for the
// time of a hand-over is left out.
func (p *planner) recorded(ctx context.Context) (objects []client.Object, err error) {
	policies, bindings := &v1alpha1.PluginPolicyList{}, &v1alpha1.PluginBindingList{}
	if err := p.kube.List(ctx, policies, client.InNamespace(p.options.Namespace)); err != nil {
		return nil, err
	}
	if err := p.kube.List(ctx, bindings, client.InNamespace(p.options.Namespace)); err != nil {
		return nil, err
	}
	for i := range policies.Items {
		objects = append(objects, &policies.Items[i])
	}
	for i := range bindings.Items {
		if metav1.GetControllerOfNoCopy(&bindings.Items[i]) == nil {
			objects = append(objects, &bindings.Items[i])
		}
	}
	return slices.DeleteFunc(objects, isShadow), nil
}

// checkBack checks that the ingress controller can make the plugins again.
func (p *planner) checkBack(ctx context.Context, item *Item) error {
	m := &mover{kube: p.kube, kong: p.kong, tag: p.options.Tag}
	declared, err := m.kongPluginOf(ctx, item)
	switch {
	case apierrors.IsNotFound(err):
		p.plan.problem(item, "%s does not exist any more. Apply it again first", item.KongPlugin.object())
		return nil
	case err != nil:
		return err
	}
	template, _, err := translate(declared, item.Namespace)
	if err != nil {
		p.plan.problem(item, "%v", err)
		return nil
	}
	now, err := m.templateNow(ctx, item)
	if err != nil {
		return err
	}
	if !sameConfig(now, &template) {
		p.plan.note("%s: its config was changed since it was handed over, and the KongPlugin's comes into force", item)
	}
	if _, err := m.readCarrier(ctx, item); err != nil {
		if !apierrors.IsNotFound(err) {
			return err
		}
		p.plan.problem(item, "the object with the annotation does not exist any more. Delete what it became instead")
	}
	return nil
}

// sameConfig compares what two templates put into the config.
func sameConfig(a, b *v1alpha1.PluginTemplateSpec) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	same := equality.Semantic.DeepEqual(jsonOf(x.Config), jsonOf(y.Config))
	x.Config, y.Config = nil, nil
	return same && equality.Semantic.DeepEqual(x.ConfigFrom, y.ConfigFrom) && equality.Semantic.DeepEqual(x.ConfigPatches, y.ConfigPatches)
}

func jsonOf(config *apiextensionsv1.JSON) (value any) {
	if config == nil || json.Unmarshal(config.Raw, &value) != nil {
		return nil
	}
	return value
}
