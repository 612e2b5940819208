package pluginbinding

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// maxOwner bounds status.conflict.owner, in bytes.
const maxOwner = 512

// conflict names the conflicting plugin and its owner.
func (r *Reconciler) conflict(s *state, id string, owner identity.Owner) (applied, *stepResult) {
	return applied{conflict: r.conflictStatus(id, owner)}, r.conflictResult(s, id, owner)
}

func (r *Reconciler) conflictStatus(id string, owner identity.Owner) *v1alpha1.ConflictStatus {
	return &v1alpha1.ConflictStatus{PluginID: id, Owner: message.Truncate(owner.Describe(r.ClusterID), maxOwner)}
}

func (r *Reconciler) conflictResult(s *state, id string, owner identity.Owner) *stepResult {
	because := ""
	if claim := s.claims.claim; claim != nil && owner.Tool != "" {
		because = claim.String() + ". "
	}
	return &stepResult{
		condition: v1alpha1.ConditionProgrammed,
		reason:    v1alpha1.ReasonConflict,
		message: fmt.Sprintf("Conflict with plugin %s, owned by %s. %sThe operator changed nothing. %s",
			id, owner.Describe(r.ClusterID), because, r.conflictRemediation(s, id, owner)),
		requeueAfter: s.conflictRetry(),
	}
}

// conflictRetry is when to look at a conflict again, if neither an event nor a resync tells that it is
// over.
func (s *state) conflictRetry() time.Duration {
	if wait := s.observed.confirmOwnerIn; wait > 0 {
		return min(wait, s.resyncInterval())
	}
	return s.untilFirstResync()
}

// untilFirstResync is when to ask Kong again as long as no resync was complete; zero from then on. A
// resync enqueues the bindings for which something changed.
func (s *state) untilFirstResync() time.Duration {
	if s.access.connection.Snapshot == nil {
		return s.resyncInterval()
	}
	return 0
}

// conflictRemediation says what to do about a conflict.
func (r *Reconciler) conflictRemediation(s *state, id string, owner identity.Owner) string {
	recorded, live, declared := s.observed.facts.Recorded, s.observed.plugins[id], s.desired.plugin
	gone := s.goneRemediation(id)
	switch {
	case gone != "" && live.Name == declared.Name:
		return gone
	case s.replaced != nil:
		return "This binding takes over the plugin of PluginBinding " + client.ObjectKeyFromObject(s.replaced).String() +
			", as spec.replaces says, once the conflict is over: delete the other plugin, or change spec.scope or spec.instanceName."
	case recorded == "" && s.observed.facts.Import == id:
		return importRemediation(live, declared)
	case recorded != id && live.InstanceName == s.instanceName() && (live.Name != declared.Name || live.Scope != declared.Scope):
		return fmt.Sprintf("It has the instance name %s, which Kong accepts only once. Set another spec.instanceName, or change that plugin's.", live.InstanceName)
	case recorded == id:
		return s.lostRemediation(owner)
	case !owner.IsZero():
		return ownerRemediation(owner, r.ClusterID)
	case recorded != "":
		return "Delete that plugin in Kong. The operator then recreates this binding's plugin under its ID."
	case s.binding.Spec.AdoptionPolicy == v1alpha1.AdoptNever:
		return "adoptionPolicy is Never. Delete that plugin in Kong, or set adoptionPolicy to IfIdentical or Override."
	default:
		return "Its settings differ from this binding's" + s.differingFields(id) + ". To adopt it and make it as declared, set adoptionPolicy to Override; or delete it in Kong."
	}
}

// ownerRemediation says what to do about a plugin of another owner.
func ownerRemediation(owner identity.Owner, clusterID string) string {
	switch {
	case owner.Tool == identity.ToolIngressController:
		return "If you remove the KongPlugin or its annotation now, the route has no such plugin until this binding is reconciled. First create a binding whose scope names both the route and its service, wait until it is Ready and 6 s more, and then remove the annotation."
	case owner.Tool != "":
		return "Remove it from that tool's configuration; the operator then creates this binding's plugin. adoptionPolicy Override takes it over, but two tools would then write to it."
	case owner.Binding.Cluster == clusterID:
		return "Delete that binding, or change the scope of one of the two bindings. The operator programs this binding once the other plugin is gone."
	default:
		return "Only one cluster can own it. Delete the binding there, or set adoptionPolicy to Override here."
	}
}

// lostRemediation says what to do about a plugin that has the recorded ID and is not this binding's.
func (s *state) lostRemediation(owner identity.Owner) string {
	if s.replacedBy(owner) {
		return "That binding replaces this one, as its spec.replaces says, and has its plugin. Delete this binding; the plugin stays."
	}
	return foreignTagsRemediation(s.identity, owner)
}

// foreignTagsRemediation says what to do about a plugin that has the recorded ID and another
// owner's tags.
func foreignTagsRemediation(self identity.Binding, owner identity.Owner) string {
	const restore = "It has the ID of this binding's plugin. Restore its ownership tags and its plugin name, or delete it in Kong."
	if owner.Binding == nil {
		return restore
	}
	former := self
	former.Cluster = owner.Binding.Cluster
	switch {
	case former.Cluster != self.Cluster && owner.Binding.Same(former):
		return fmt.Sprintf("The plugin belongs to this binding but carries the ownership tags of cluster %s. If that is the former ID of this cluster, restart the operator with --cluster-id=%s.", former.Cluster, former.Cluster)
	case former.Cluster == self.Cluster && !owner.Binding.Same(self):
		return "Both bindings have recorded its ID: one is a copy of the other, or that one took the plugin over with adoptionPolicy Override. Delete one of the two bindings. If you delete that one, set its deletionPolicy to Orphan first: the plugin then stays, and becomes this binding's."
	default:
		return restore
	}
}

// importRemediation says what to do about a plugin that spec.pluginID cannot import.
func importRemediation(live, declared plugin.Plugin) string {
	if live.Name != declared.Name {
		return fmt.Sprintf("spec.pluginID names a plugin %s, and this binding declares %s. Create a new binding with the right ID, or without one.", live.Name, declared.Name)
	}
	return "spec.pluginID can import only a plugin without an owner. Have the owner release it (deleting its PluginBinding with deletionPolicy Orphan does this), or create a new binding without pluginID."
}

// publicDifferences names the fields in which another owner's plugin differs. To a tenant it names no
// field that holds a secret: the name would tell whether a guessed value is right.
func (s *state) publicDifferences(live plugin.Plugin) []string {
	ownership, _ := identity.OwnershipOf(s.identity, live.Tags, live.InstanceName)
	if ownership == identity.Owned || s.binding.Namespace == s.gatewayKey.Namespace {
		return s.differences(live)
	}
	fields := plugin.PublicDifferences(s.desired.plugin, live, s.desired.schema)
	for i, field := range fields {
		fields[i] = s.desired.redactor.RedactPath(field)
	}
	return fields
}

func (s *state) differingFields(id string) string {
	live, ok := s.observed.plugins[id]
	if !ok || live.Name != s.desired.plugin.Name {
		return ""
	}
	fields := slices.DeleteFunc(s.publicDifferences(live), func(field string) bool { return !touchesTraffic(field) })
	if len(fields) == 0 {
		return ""
	}
	return " in " + strings.Join(message.FieldNames(fields), ", ")
}
