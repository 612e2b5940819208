package pluginbinding

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/tenancy"
)

// state is one reconcile of one binding: what it started with, and one value per step.
type state struct {
	// binding is a copy of the cached object, or the object as the last patch returned it.
	binding    *v1alpha1.PluginBinding
	identity   identity.Binding
	gatewayKey types.NamespacedName
	// liveAt is when the response to the patch of the finalizer was asked for; zero without one.
	liveAt time.Time

	access   access                  // by resolveGateway
	desired  desired                 // by resolveDesired; observe resolves its scope anew
	replaced *v1alpha1.PluginBinding // by resolveReplaced; nil if there is none
	claims   claims                  // by resolveClaims
	observed observed                // by observe
	action   identity.Action         // by decide
	applied  applied                 // by apply

	// sent is what apply sent last, or would have sent. writeFailed: Kong did not confirm it.
	sent        sent
	writeFailed bool

	// takesBack: Kong's ingress controller hands the plugin over to this binding.
	takesBack bool
	// locksReplaced: no other worker reconciles the binding that this one replaces.
	locksReplaced bool
	// replacements are bindings that replace this one, as far as a step has found out.
	replacements []types.NamespacedName

	// events to emit after the status patch.
	events []pendingEvent
}

// access is how to reach the binding's gateway.
type access struct {
	// gateway is nil if it does not exist or is not watched.
	gateway    *v1alpha1.KongGateway
	connection connection.Connection
	// policy is what the gateway allows to bindings of other namespaces, and request what this
	// binding wants. The steps add to the request what they find out.
	policy  tenancy.Policy
	request tenancy.Request
	// gone: the API server confirms that the gateway does not exist.
	gone bool
}

// desired is the plugin that the binding declares.
type desired struct {
	plugin         plugin.Plugin
	redactor       *plugin.Redactor
	schema         *plugin.Schema
	secretVersions []string
	// route is the route of the scope, as it was resolved; without an ID if the scope has none.
	route adminapi.Entity
	// warnings are probable mistakes in the config, as sentences.
	warnings []string
	// trust is what the gateway's snapshot proves about this binding.
	trust connection.Trust
	// refsResolved: every Secret and every part of the scope was found.
	refsResolved bool
}

// observed is what Kong holds.
type observed struct {
	facts identity.Facts
	// plugins behind the facts, by ID.
	plugins map[string]plugin.Plugin
	// ownsOne: Kong holds the recorded plugin, and no other that the binding owns.
	ownsOne bool
	// inFlightFor is how long, counted from the start of observe, Kong may still apply an
	// earlier write. If it is positive, the facts may be incomplete.
	inFlightFor time.Duration
	// confirmOwnerIn is when the API server has to be asked again whether the owner of a plugin is
	// gone; zero if it need not.
	confirmOwnerIn time.Duration
	// members are the bindings that have to move before this one can, which is the first of them;
	// asideScope is where its plugin moves aside to.
	members    []member
	asideScope plugin.Scope
}

// applied is what apply did.
type applied struct {
	// programmed is Kong's plugin if it is the declared one.
	programmed *plugin.Plugin
	// wrote: Kong confirmed a write.
	wrote bool
	// recordID is an ID to record in the status, with its source.
	recordID string
	source   v1alpha1.PluginIDSource
	// drifted are the fields that somebody changed in Kong and that were corrected.
	drifted []string
	// acceptedDifferences are the fields that Kong stores differently.
	acceptedDifferences []string
	conflict            *v1alpha1.ConflictStatus
}

// pendingEvent is an event to emit after the status patch.
type pendingEvent struct {
	kind   string // corev1.EventTypeNormal or corev1.EventTypeWarning
	reason string
	note   string
}

func newState(binding *v1alpha1.PluginBinding, clusterID string) *state {
	return &state{
		binding: binding.DeepCopy(),
		identity: identity.Binding{
			Cluster:   clusterID,
			Namespace: binding.Namespace,
			Name:      binding.Name,
			UID:       string(binding.UID),
		},
		gatewayKey: reference.GatewayOf(binding),
		observed:   observed{plugins: map[string]plugin.Plugin{}},
	}
}

// instanceName of the plugin in Kong.
func (s *state) instanceName() string {
	return instanceNameOf(s.binding, s.identity)
}

func instanceNameOf(binding *v1alpha1.PluginBinding, self identity.Binding) string {
	if name := binding.Spec.InstanceName; name != "" {
		return string(name)
	}
	return self.InstanceName()
}

// client of the gateway's Kong.
func (s *state) client() connection.AdminClient { return s.access.connection.Client }

// eventf adds a normal event, and logs it.
func (s *state) eventf(ctx context.Context, reason, format string, args ...any) {
	s.addEvent(ctx, corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...))
}

// warningf adds a warning event, and logs it. In a namespace that is being deleted no event
// can be created, and the log is all that is left.
func (s *state) warningf(ctx context.Context, reason, format string, args ...any) {
	s.addEvent(ctx, corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...))
}

func (s *state) addEvent(ctx context.Context, kind, reason, note string) {
	s.events = append(s.events, pendingEvent{kind, reason, note})
	log.FromContext(ctx).Info(note, "action", reason, "gateway", s.gatewayKey.String(), "plugin", s.binding.Spec.Plugin)
}
