package pluginbinding

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/message"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

// observe gathers the facts that the decision needs, and no others: each one is a request. It
// writes s.observed, and resolves the scope of s.desired again where the snapshot is not
// enough. An error of Kong ends the reconcile: nothing may be decided on unknown facts.
func (r *Reconciler) observe(ctx context.Context, s *state) *stepResult {
	s.observed.facts = identity.Facts{
		Recorded: string(s.binding.Status.PluginID),
		Import:   string(s.binding.Spec.PluginID),
		Adoption: adoptionPolicy(s.binding),
	}
	if r.isUnchanged(s) && s.isContested() == (s.claims.claim != nil) {
		return done()
	}
	s.observed.inFlightFor = max(r.inFlightFor(s), r.inFlightForReplaced(s))
	if s.canSkipLookup() && !r.InFlight.HasInFlight(s.binding) {
		return s.waitForInFlightWrites()
	}
	if result := r.gatherFacts(ctx, s); result != nil {
		return result
	}
	if s.desired.trust.Scope && !s.confirmed() {
		if result := r.confirmScope(ctx, s); result != nil {
			return result
		}
	}
	return r.observeExchange(ctx, s)
}

// confirmScope asks Kong what the scope means now: the snapshot only proposes. The facts about a
// plugin that exists come from Kong already. They hold if the scope means the same.
func (r *Reconciler) confirmScope(ctx context.Context, s *state) *stepResult {
	proposed := s.desired.plugin.Scope
	s.desired.trust.Presence, s.desired.trust.Absence, s.desired.trust.Scope = false, false, false
	if result := r.resolveScope(ctx, s, &s.desired); result != nil {
		return result
	}
	if s.desired.plugin.Scope == proposed && s.observed.facts.Recorded != "" && s.observed.facts.ByID.Ownership.Found() {
		return nil
	}
	return r.gatherFacts(ctx, s)
}

// isUnchanged reports whether everything is as it was when this process last saw the plugin
// programmed: the declaration with its Secrets, the scope, and the plugin in the snapshot.
// After an outage of the gateway this holds for most bindings, and none costs a request.
func (r *Reconciler) isUnchanged(s *state) bool {
	status := &s.binding.Status
	last, known := r.Programmed.Get(s.binding)
	return known && s.desired.trust.Presence && s.wasProgrammed() && status.Scope != nil &&
		last.Secrets == strings.Join(s.desired.secretVersions, ",") &&
		last.Route == s.routeFacts() &&
		last.Fingerprint == s.access.connection.Snapshot.Fingerprint(s.observed.facts.Recorded) &&
		s.desired.plugin.Scope == reference.BoundScope(status.Scope)
}

func (r *Reconciler) gatherFacts(ctx context.Context, s *state) *stepResult {
	lookup := s.observeUnrecorded
	if s.observed.facts.Recorded != "" {
		lookup = s.observeRecorded
	}
	if err := lookup(ctx); err != nil {
		return r.handleKongError(s, &s.desired, err)
	}
	s.noteHandOver()
	if err := r.lookupOwners(ctx, s); err != nil {
		return kubernetesError(err)
	}
	return nil
}

// confirmed reports whether the operator may act on facts whose scope came from the snapshot.
// It may if the action writes nothing, or if Kong itself rejects the write should another
// plugin hold the scope that the declared names resolve to at that time.
func (s *state) confirmed() bool {
	facts := s.observed.facts
	switch identity.Decide(facts).Operation {
	case identity.None, identity.RecordID:
		return true
	case identity.Create:
		return s.resolvesAtWrite()
	case identity.Put:
		if live, exists := s.observed.plugins[facts.Recorded]; exists {
			return live.Scope == s.desired.plugin.Scope
		}
		return s.resolvesAtWrite()
	default:
		return false
	}
}

// resolvesAtWrite reports whether a write names its scope as the binding does, by names or by
// declared IDs. Then Kong resolves the names at the write, and not this process before it.
func (s *state) resolvesAtWrite() bool {
	for _, entity := range reference.ScopeEntities(s.binding.Spec.Scope) {
		if entity.Ref.CustomID != "" || entity.Ref.ID == "" && s.desired.plugin.ScopeNames == (plugin.ScopeNames{}) {
			return false
		}
	}
	return true
}

func adoptionPolicy(binding *v1alpha1.PluginBinding) identity.Adoption {
	switch binding.Spec.AdoptionPolicy {
	case v1alpha1.AdoptOverride:
		return identity.AdoptOverride
	case v1alpha1.AdoptNever:
		return identity.AdoptNever
	default:
		return identity.AdoptIfIdentical
	}
}

func (s *state) observeRecorded(ctx context.Context) (err error) {
	f := &s.observed.facts
	if s.snapshotShowsProgrammed() {
		f.ByKey = f.ByID
		return nil
	}
	if f.ByID, err = s.lookupByID(ctx, f.Recorded); err != nil {
		return err
	}
	if f.ByID.Ownership == identity.Absent {
		if f.ByName, err = s.lookupByName(ctx); err != nil {
			return err
		}
		if f.ByName.Ownership.Found() && f.ByName.Ownership != identity.Owned {
			return nil
		}
		f.ByKey, err = s.lookupByKey(ctx)
		return err
	}
	if f.ByID.OtherName && !f.ByID.Equal {
		if f.ByInstanceName, err = s.lookupByInstanceName(ctx, s.instanceName()); err != nil {
			return err
		}
	}
	if live := s.observed.plugins[f.Recorded]; live.Name == s.desired.plugin.Name && live.Scope == s.desired.plugin.Scope {
		// Kong keeps one plugin per name and scope: this one holds them.
		f.ByKey = f.ByID
		return nil
	}
	f.ByKey, err = s.lookupByKey(ctx)
	return err
}

// snapshotShowsProgrammed accepts the snapshot as proof only for a plugin that is exactly as
// declared. Anything else is worth a request.
func (s *state) snapshotShowsProgrammed() bool {
	if !s.desired.trust.Presence {
		return false
	}
	live, ok := s.access.connection.Snapshot.Plugin(s.observed.facts.Recorded)
	if !ok {
		return false
	}
	observation, _ := s.observation(live, nil)
	if observation.Ownership != identity.Owned || !observation.Equal || live.Scope != s.desired.plugin.Scope {
		delete(s.observed.plugins, live.ID)
		return false
	}
	s.observed.facts.ByID = observation
	return true
}

func (s *state) observeUnrecorded(ctx context.Context) (err error) {
	f := &s.observed.facts
	if f.ByName, err = s.lookupByName(ctx); err != nil || f.ByName.Ownership == identity.Owned {
		return err
	}
	if s.replaced != nil {
		return s.observeReplaced(ctx)
	}
	if f.Import != "" {
		f.ByID, err = s.lookupByID(ctx, f.Import)
		return err
	}
	f.ByKey, err = s.lookupByKey(ctx)
	return err
}

func (s *state) lookupByID(ctx context.Context, id string) (identity.Observation, error) {
	return s.observation(s.client().PluginByID(ctx, id))
}

func (s *state) lookupByKey(ctx context.Context) (identity.Observation, error) {
	return s.observation(s.client().PluginAt(ctx, s.desired.plugin.Name, s.desired.plugin.Scope))
}

// lookupByName finds the plugin with the binding's instance name, or else a plugin with its
// ownership tags: somebody may have changed the instance name in Kong or in the spec.
func (s *state) lookupByName(ctx context.Context) (identity.Observation, error) {
	named, err := s.lookupByInstanceName(ctx, s.instanceName())
	s.observed.facts.ByInstanceName = named
	if err != nil || named.Ownership == identity.Owned {
		return named, err
	}
	if s.desired.trust.Absence && !s.access.connection.Snapshot.Owns(s.identity) {
		// No plugin carried the ownership tags, and nothing was written since.
		return named, nil
	}
	if generated := s.identity.InstanceName(); generated != s.instanceName() {
		// A plugin from before spec.instanceName was set is found without a list, which may lack
		// a row.
		if earlier, err := s.lookupByInstanceName(ctx, generated); err != nil || earlier.Ownership == identity.Owned {
			return earlier, err
		}
	}
	tagged, err := s.client().PluginsByTags(ctx, s.identity.LookupTags())
	if err != nil {
		return identity.Observation{}, err
	}
	// The oldest first: should there ever be two, the one that Kong created first counts.
	slices.SortFunc(tagged, func(a, b plugin.Plugin) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	for _, candidate := range tagged {
		if observation, _ := s.observation(candidate, nil); observation.Ownership == identity.Owned {
			return observation, nil
		}
	}
	return named, nil
}

func (s *state) lookupByInstanceName(ctx context.Context, name string) (identity.Observation, error) {
	named, err := s.observation(s.client().PluginByInstanceName(ctx, name))
	if adminapi.ReasonForError(err) == adminapi.Invalid {
		// No plugin can have a name that cannot be requested. A deletion must not wait for it.
		return identity.Observation{Ownership: identity.Absent}, nil
	}
	return named, err
}

// observation says what a response means to this binding, and keeps its plugin.
func (s *state) observation(live plugin.Plugin, err error) (identity.Observation, error) {
	if adminapi.IsNotFound(err) {
		return identity.Observation{Ownership: identity.Absent}, nil
	}
	if err != nil {
		return identity.Observation{}, err
	}
	s.observed.plugins[live.ID] = live
	ownership, owner := identity.OwnershipOf(s.identity, live.Tags, live.InstanceName)
	observation := identity.Observation{
		Ownership:  ownership,
		ID:         live.ID,
		Owner:      owner,
		SamePlugin: live.Name == string(s.binding.Spec.Plugin),
		OtherName:  live.InstanceName != s.instanceName(),
	}
	_, observation.Aside = identity.AsideFrom(live.Tags)
	if observation.SamePlugin && s.desired.schema != nil {
		differences := s.differences(live)
		observation.Equal = len(differences) == 0 || s.areAccepted(live, differences)
		observation.SameTraffic = !slices.ContainsFunc(differences, touchesTraffic)
	}
	return observation, nil
}

// differences names the fields in which a plugin is not as declared. It hides names that only a
// Secret knows. The UID in the tags alone is no difference.
func (s *state) differences(live plugin.Plugin) []string {
	fields := plugin.Differences(s.desired.plugin, live, s.desired.schema)
	if identity.SameTags(s.desired.plugin.Tags, live.Tags) {
		fields = slices.DeleteFunc(fields, func(field string) bool { return field == plugin.FieldTags })
	}
	for i, field := range fields {
		fields[i] = s.desired.redactor.RedactPath(field)
	}
	return fields
}

// touchesTraffic separates the fields that change what the proxy does from the ownership tags
// and the instance name.
func touchesTraffic(field string) bool {
	return field != plugin.FieldTags && field != plugin.FieldInstanceName
}

// areAccepted reports whether Kong itself made these differences at the last write: the plugin
// has not been touched since, and the declaration and its Secrets are the same. This keeps a
// plugin whose config Kong changes in a way that the comparison does not know from being
// written for ever.
func (s *state) areAccepted(live plugin.Plugin, differences []string) bool {
	accepted := s.binding.Status.AcceptedDifferences
	if accepted == nil || accepted.Generation != s.binding.Generation || accepted.UpdatedAt != live.UpdatedAt {
		return false
	}
	if !slices.Equal(accepted.SecretVersions, s.desired.secretVersions) {
		return false
	}
	for _, field := range message.FieldNames(differences) {
		if !slices.Contains(accepted.Fields, field) {
			return false
		}
	}
	return true
}
