package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// Action is what the operator would do for an object.
type Action string

// The actions. The first group changes something in Kong; the last one is why nothing happens.
const (
	Create   Action = "create"
	Update   Action = "update"
	Move     Action = "move"
	Adopt    Action = "adopt"
	TakeOver Action = "takeover"
	Restore  Action = "restore"
	Delete   Action = "delete"

	None   Action = "none"
	Record Action = "record"
	Expand Action = "expand"

	Conflict Action = "conflict"
	Refused  Action = "refused"
	Wait     Action = "wait"
	Failed   Action = "failed"
)

// changes are the actions after which Kong is not what it was.
var changes = []Action{Create, Update, Move, Adopt, TakeOver, Restore, Delete}

// blocked are the actions of objects that would not become Ready.
var blocked = []Action{Conflict, Refused, Wait, Failed}

// Item is what would become of one object.
type Item struct {
	Kind      string `json:"objectKind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Gateway   string `json:"gateway,omitempty"`
	Plugin    string `json:"plugin,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Action    Action `json:"action"`
	// PluginID of the plugin that is there; empty for one that Kong has yet to create.
	PluginID string `json:"pluginID,omitempty"`
	// Fields that would change.
	Fields []string `json:"fields,omitempty"`
	// Reason and Message are those of the condition Ready.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Given: the object is in the files. Others change as a consequence.
	Given bool `json:"given"`
	// wasReady: the object is Ready now.
	wasReady bool
}

// Plan is what -o json prints.
type Plan struct {
	Items []Item `json:"items"`
	// WouldChange is the number of items with a change in Kong, Blocked of those that would not
	// become Ready.
	WouldChange int `json:"wouldChange"`
	Blocked     int `json:"blocked"`
}

// report says what became of each object.
func (s *simulation) report(ctx context.Context, given map[objectKey]bool, refused []Item) (*Plan, error) {
	plan := &Plan{Items: refused}
	for _, t := range s.sorted() {
		item, err := s.item(ctx, t)
		if err != nil {
			return nil, err
		}
		item.Given = given[t.objectKey]
		if item.Given || slices.Contains(changes, item.Action) || item.wasReady && slices.Contains(blocked, item.Action) {
			plan.Items = append(plan.Items, item)
		}
	}
	slices.SortStableFunc(plan.Items, func(a, b Item) int {
		return cmp.Or(-strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for i := range plan.Items {
		switch action := plan.Items[i].Action; {
		case slices.Contains(blocked, action):
			plan.Blocked++
		case slices.Contains(changes, action):
			plan.WouldChange++
		}
	}
	return plan, nil
}

func (s *simulation) item(ctx context.Context, t *task) (Item, error) {
	if t.kind == kindPolicy {
		return s.policyItem(ctx, t)
	}
	item := Item{Kind: t.kind, Namespace: t.Namespace, Name: t.Name}
	before, after := &v1alpha1.PluginBinding{}, &v1alpha1.PluginBinding{}
	if err := s.cluster.live.Get(ctx, t.NamespacedName, before); err != nil && !apierrors.IsNotFound(err) {
		return item, err
	}
	item.wasReady = meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionReady)
	err := s.cluster.Get(ctx, t.NamespacedName, after)
	switch {
	case apierrors.IsNotFound(err):
		after = before
	case err != nil:
		return item, err
	}
	key := reference.GatewayOf(after)
	item.Gateway, item.Plugin, item.Scope = key.String(), string(after.Spec.Plugin), reference.ScopeSummary(after.Spec.Scope)
	if failure := s.failureOf(t, key); failure != "" {
		item.Action, item.Message = Failed, failure
		return item, nil
	}
	item.PluginID = string(cmp.Or(after.Status.PluginID, before.Status.PluginID))
	item.Action = s.actionOf(before, item.PluginID, key)
	item.Fields = fieldsOf(s.events.of(t.NamespacedName))
	if item.Action == Create {
		item.PluginID = "" // Kong assigns it
	}
	if item.Action != Delete {
		s.judge(&item, after)
	}
	return item, nil
}

// failureOf is why nothing is known about an object, empty if it is.
func (s *simulation) failureOf(t *task, gateway types.NamespacedName) string {
	switch unusable := s.unusable[gateway]; {
	case t.err != nil:
		return t.err.Error()
	case unusable != nil:
		return unusable.Error()
	default:
		return ""
	}
}

// actionOf compares Kong as it would be with Kong as it is.
func (s *simulation) actionOf(binding *v1alpha1.PluginBinding, id string, gateway types.NamespacedName) Action {
	kong := s.kongs[gateway]
	if kong == nil || id == "" {
		return None
	}
	before, after, isWritten := kong.change(id)
	recorded := string(binding.Status.PluginID)
	switch {
	case !isWritten && recorded == "":
		return Record
	case !isWritten:
		return None
	case before == nil && recorded == "":
		return Create
	case after == nil:
		return Delete
	case before == nil:
		return Restore
	case recorded == "":
		return s.acquired(binding, before)
	case before.Scope != after.Scope:
		return Move
	default:
		return Update
	}
}

// acquired says how a binding without a plugin got one that is there.
func (s *simulation) acquired(binding *v1alpha1.PluginBinding, before *plugin.Plugin) Action {
	self := identity.Binding{Cluster: s.reconcilers.Bindings.ClusterID, Namespace: binding.Namespace, Name: binding.Name}
	switch ownership, _ := identity.OwnershipOf(self, before.Tags, before.InstanceName); ownership {
	case identity.Owned:
		return Update
	case identity.OwnedByOther:
		return TakeOver
	default:
		return Adopt
	}
}

// fieldSentences stand before the fields in the operator's events. The operator has left out of them
// what only a Secret knows.
var fieldSentences = []string{" was updated in ", " differed in "}

func fieldsOf(notes []note) []string {
	var fields []string
	for _, n := range notes {
		for _, sentence := range fieldSentences {
			if _, rest, found := strings.Cut(n.text, sentence); found {
				rest, _, _ = strings.Cut(rest, " and is as declared again")
				fields = append(fields, strings.Split(rest, ", ")...)
			}
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// waits are the reasons that end without anybody changing the object.
var waits = []string{v1alpha1.ReasonProgramming, v1alpha1.ReasonScopeNotFound, v1alpha1.ReasonPluginNotFound, v1alpha1.ReasonSecretNotFound,
	v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonGatewayNotFound, v1alpha1.ReasonGatewayNotReady, v1alpha1.ReasonKongUnavailable}

// wanted are the reasons of bindings that their author has stopped.
var wanted = []string{v1alpha1.ReasonPaused, v1alpha1.ReasonWouldChange}

// judge says why a binding would not become Ready.
func (s *simulation) judge(item *Item, after *v1alpha1.PluginBinding) {
	ready := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != after.Generation && !slices.Contains(changes, item.Action) {
		item.Action, item.Message = Wait, "the operator waits, and says nothing of it yet"
		return
	}
	item.Reason = ready.Reason
	switch {
	case ready.Status == metav1.ConditionTrue:
	case slices.Contains(wanted, ready.Reason):
		item.Message = ready.Message
	case ready.Reason == v1alpha1.ReasonConflict || ready.Reason == v1alpha1.ReasonClaimedByKongPlugin:
		item.Action, item.Message = Conflict, ready.Message
	case slices.Contains(waits, ready.Reason):
		item.Action, item.Message = Wait, ready.Message
	default:
		item.Action, item.Message = Refused, ready.Message
	}
}

func (s *simulation) policyItem(ctx context.Context, t *task) (Item, error) {
	item := Item{Kind: t.kind, Namespace: t.Namespace, Name: t.Name, Action: Expand}
	before, policy := &v1alpha1.PluginPolicy{}, &v1alpha1.PluginPolicy{}
	if err := s.cluster.live.Get(ctx, t.NamespacedName, before); err != nil && !apierrors.IsNotFound(err) {
		return item, err
	}
	item.wasReady = meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionReady)
	if err := s.cluster.Get(ctx, t.NamespacedName, policy); err != nil {
		return item, err
	}
	key := reference.GatewayOfPolicy(policy)
	item.Gateway, item.Plugin = key.String(), string(policy.Spec.Template.Spec.Plugin)
	if failure := s.failureOf(t, key); failure != "" {
		item.Action, item.Message = Failed, failure
		return item, nil
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs} {
		condition := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if condition != nil && condition.Status != metav1.ConditionTrue {
			item.Action, item.Reason, item.Message = Refused, condition.Reason, condition.Message
			if condition.Reason == v1alpha1.ReasonConflicted {
				item.Action = Conflict
			}
			return item, nil
		}
	}
	if policy.Status.Bindings != nil {
		item.Message = fmt.Sprintf("%d bindings", policy.Status.Bindings.Total)
	}
	return item, nil
}

// result is the plan for the printers.
func (p *Plan) result() *cli.Result {
	result := &cli.Result{
		Kind: "Plan", Value: p, Empty: "No PluginBinding, PluginPolicy or KongGateway is in the files, or changes because of them.",
		Columns: []cli.Column{{Name: "Action"}, {Name: "Object"}, {Name: "Plugin"}, {Name: "Scope"}, {Name: "Plugin-ID"}, {Name: "Fields"}, {Name: "Message"}, {Name: "Gateway", Wide: true}, {Name: "Reason", Wide: true}},
	}
	for i := range p.Items {
		item := &p.Items[i]
		level := cli.Plain
		switch {
		case slices.Contains(blocked, item.Action):
			level = cli.Bad
		case item.Action == Delete:
			level = cli.Warning
		case slices.Contains(changes, item.Action):
			level = cli.Good
		}
		object := strings.ToLower(item.Kind) + "/" + item.Name
		result.Rows = append(result.Rows, cli.Row{Level: level, Cells: []any{
			string(item.Action), item.Namespace + " " + object, item.Plugin, item.Scope, item.PluginID, strings.Join(item.Fields, ","), item.Message, item.Gateway, item.Reason,
		}})
		result.Names = append(result.Names, strings.ToLower(item.Kind)+"."+v1alpha1.GroupVersion.Group+"/"+item.Name)
	}
	return result
}
