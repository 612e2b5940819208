package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// Child is the binding that a policy should have for one entity.
type Child struct {
	// Name of the binding.
	Name string
	// Target for which the policy has it, see Target.Name.
	Target string
	// Kind and Ref of the entity, as the scope names it.
	Kind adminapi.EntityKind
	Ref  adminapi.EntityRef
	// Entity in Kong.
	Entity connection.Selected
	// Replaces is the binding whose plugin this one takes over, see Contend.
	Replaces *v1alpha1.BindingRef
	// AllowReplacementFrom is the namespace of an older policy that takes the plugin over, see Contend.
	AllowReplacementFrom []v1alpha1.NamespaceName
	scope                v1alpha1.Scope
}

// Bounds of names in Kubernetes. A binding's name ends in a hash of hashLength characters.
const (
	maxName    = 253
	maxLabel   = 63
	hashLength = 10
)

// Children are the bindings that a policy should have for the entities of its targets, each once, in
// a stable order. An entity of two targets belongs to the first one.
func Children(policy *v1alpha1.PluginPolicy, targets []Target) []Child {
	var children []Child
	seen := map[string]bool{}
	for i := range targets {
		target := &targets[i]
		for _, entity := range target.Entities {
			key := string(target.Selector.Kind) + entity.ID
			if seen[key] {
				continue
			}
			seen[key] = true
			children = append(children, newChild(policy, target, entity))
		}
	}
	return children
}

func newChild(policy *v1alpha1.PluginPolicy, target *Target, entity connection.Selected) Child {
	kind := target.Selector.Kind
	child := Child{Target: target.Name, Kind: kind, Entity: entity, Ref: RefOf(kind, entity)}
	switch kind {
	case adminapi.Service:
		child.scope.Service = entityRef(child.Ref)
	case adminapi.Route:
		child.scope.Route = entityRef(child.Ref)
		if entity.ServiceID != "" {
			// Kong's ingress controller puts no plugin on a route together with its service, so that
			// the two cannot collide.
			child.scope.Service = &v1alpha1.EntityRef{ID: v1alpha1.UUID(entity.ServiceID)}
		}
	case adminapi.Consumer:
		child.scope.Consumer = &v1alpha1.ConsumerRef{ID: v1alpha1.UUID(child.Ref.ID), Username: child.Ref.Username, CustomID: child.Ref.CustomID}
	case adminapi.ConsumerGroup:
		child.scope.ConsumerGroup = entityRef(child.Ref)
	}
	if scope := policy.Spec.Template.Spec.Scope; scope != nil && child.scope.Consumer == nil {
		child.scope.Consumer = scope.Consumer.DeepCopy()
	}
	child.Name = childName(policy.Name, kind, child.Ref)
	return child
}

func entityRef(ref adminapi.EntityRef) *v1alpha1.EntityRef {
	return &v1alpha1.EntityRef{ID: v1alpha1.UUID(ref.ID), Name: v1alpha1.Name(ref.Name)}
}

// What the API accepts as a name, see Name and ConsumerRef.
var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,255}$`)
	usernamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~@+=:-]{0,255}$`)
	uuidPattern     = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`)
)

// maxCustomID bounds customID in the API, in characters.
const maxCustomID = 256

// RefOf names an entity so that it is found again when it comes back under another ID: by name if
// the API takes the name, otherwise by ID.
func RefOf(kind adminapi.EntityKind, entity connection.Selected) adminapi.EntityRef {
	named := !uuidPattern.MatchString(entity.Name)
	switch {
	case kind == adminapi.Consumer && named && usernamePattern.MatchString(entity.Name):
		return adminapi.EntityRef{Username: entity.Name}
	case kind == adminapi.Consumer && entity.CustomID != "" && len(entity.CustomID) <= maxCustomID:
		return adminapi.EntityRef{CustomID: entity.CustomID}
	case kind != adminapi.Consumer && named && namePattern.MatchString(entity.Name):
		return adminapi.EntityRef{Name: entity.Name}
	default:
		return adminapi.EntityRef{ID: entity.ID}
	}
}

// childName is stable: the name of the policy and a hash of the entity's kind and name.
func childName(policy string, kind adminapi.EntityKind, ref adminapi.EntityRef) string {
	key := strings.Join([]string{string(kind), ref.ID, ref.Name, ref.Username, ref.CustomID}, "\n")
	longest := maxName - hashLength - 1
	if len(policy) > longest {
		key, policy = policy+"\n"+key, strings.TrimRight(policy[:longest], ".-")
	}
	return policy + "-" + hash(key)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:hashLength]
}

// LabelOf is the value of PolicyLabel for a policy.
func LabelOf(policy string) string {
	if len(policy) <= maxLabel {
		return policy
	}
	return strings.TrimRight(policy[:maxLabel-hashLength-1], ".-") + "-" + hash(policy)
}

// Binding is the child as an object.
func (c Child) Binding(policy *v1alpha1.PluginPolicy) *v1alpha1.PluginBinding {
	template := &policy.Spec.Template
	spec := template.Spec.DeepCopy()
	binding := &v1alpha1.PluginBinding{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginBinding"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: policy.Namespace, Name: c.Name,
			Labels: map[string]string{}, Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "PluginPolicy", Name: policy.Name, UID: policy.UID,
				Controller: ptr.To(true),
			}},
		},
		Spec: v1alpha1.PluginBindingSpec{
			GatewayRef: policy.Spec.GatewayRef, Plugin: spec.Plugin, Scope: c.scope.DeepCopy(),
			Enabled: spec.Enabled, Protocols: spec.Protocols, Ordering: spec.Ordering, Tags: spec.Tags,
			Condition: spec.Condition, Partials: spec.Partials,
			Config: spec.Config, ConfigFrom: spec.ConfigFrom, ConfigPatches: spec.ConfigPatches,
			AdoptionPolicy: spec.AdoptionPolicy, DeletionPolicy: spec.DeletionPolicy, ManagementPolicy: spec.ManagementPolicy,
			Replaces: c.Replaces, AllowReplacementFrom: c.AllowReplacementFrom,
		},
	}
	if metadata := template.Metadata; metadata != nil {
		for key, value := range metadata.Labels {
			binding.Labels[key] = string(value)
		}
		for key, value := range metadata.Annotations {
			binding.Annotations[key] = string(value)
		}
	}
	binding.Labels[v1alpha1.PolicyLabel] = LabelOf(policy.Name)
	binding.Annotations[v1alpha1.TargetAnnotation] = c.Target
	return binding
}

// Places are the keys of the place of the child's plugin, see reference.Places.
func (c Child) Places(policy *v1alpha1.PluginPolicy) []string {
	binding := c.Binding(policy)
	if c.scope.Consumer == nil || c.Kind == adminapi.Consumer {
		bound := v1alpha1.BoundScope{ServiceID: c.Entity.ServiceID}
		switch c.Kind {
		case adminapi.Service:
			bound.ServiceID = c.Entity.ID
		case adminapi.Route:
			bound.RouteID = c.Entity.ID
		case adminapi.Consumer:
			bound.ConsumerID = c.Entity.ID
		case adminapi.ConsumerGroup:
			bound.ConsumerGroupID = c.Entity.ID
		}
		binding.Status.Scope = &bound
	}
	return reference.Places(binding)
}

// IsAsDeclared reports whether a binding that exists is as the policy declares it. Labels and
// annotations of others do not count, and neither do other owners.
func IsAsDeclared(existing, declared *v1alpha1.PluginBinding) bool {
	return isControlledLike(existing, declared) && contains(existing.Labels, declared.Labels) && contains(existing.Annotations, declared.Annotations) &&
		hasGoneSince(existing) == hasGoneSince(declared) && sameSpec(&existing.Spec, &declared.Spec)
}

func isControlledLike(existing, declared *v1alpha1.PluginBinding) bool {
	owner := metav1.GetControllerOfNoCopy(existing)
	return owner != nil && owner.UID == metav1.GetControllerOfNoCopy(declared).UID
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func hasGoneSince(binding *v1alpha1.PluginBinding) bool {
	_, gone := binding.Annotations[v1alpha1.EntityGoneSinceAnnotation]
	return gone
}

// sameSpec compares two specs. Two configs are the same if they mean the same as JSON.
func sameSpec(a, b *v1alpha1.PluginBindingSpec) bool {
	x, y := *a, *b
	x.Config, y.Config = nil, nil
	if !equality.Semantic.DeepEqual(x, y) || (a.Config == nil) != (b.Config == nil) {
		return false
	}
	if a.Config == nil {
		return true
	}
	var left, right any
	return json.Unmarshal(a.Config.Raw, &left) == nil && json.Unmarshal(b.Config.Raw, &right) == nil && reflect.DeepEqual(left, right)
}

// goneSince is since when Kong no longer has the entity of a binding, false if Kong has it. A text
// that is no time counts as the Unix epoch: the retention of that binding is over.
func goneSince(binding *v1alpha1.PluginBinding) (time.Time, bool) {
	text, gone := binding.Annotations[v1alpha1.EntityGoneSinceAnnotation]
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		since = time.Unix(0, 0)
	}
	return since, gone
}

// Label is the entity's name in Kong, or else its custom_id or ID.
func (c Child) Label() string { return reference.ScopeEntity{Kind: c.Kind, Ref: c.Ref}.Label() }

// Describe names the entity for a message, such as: route named "shop.ing-a.svc-a..80".
func (c Child) Describe() string { return reference.ScopeEntity{Kind: c.Kind, Ref: c.Ref}.String() }

// IsOlder reports whether another object came before the policy. Of two that are equally old, the one
// whose kind and name sort first is the older one.
func IsOlder(name string, created time.Time, policy *v1alpha1.PluginPolicy) bool {
	if own := policy.CreationTimestamp.Time; !created.Equal(own) {
		return created.Before(own)
	}
	return name < "PluginPolicy "+policy.Namespace+"/"+policy.Name
}

// Request is what a policy wants from its gateway, as far as its spec says.
func Request(policy *v1alpha1.PluginPolicy, labels map[string]string) tenancy.Request {
	return tenancy.Request{
		Namespace: tenancy.Namespace{Name: policy.Namespace, Labels: labels},
		Plugin:    string(policy.Spec.Template.Spec.Plugin),
		ByTags:    policy.Spec.EntitySelector != nil,
		Rank:      1, // a policy does not count; each of its bindings does
		Operation: tenancy.Refer,
	}
}
