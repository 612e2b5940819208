package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// observe gathers the facts that the decision will look at, and no others: each is a
// request. Whatever Kong could not answer stops the pass, since nothing may be decided on
// it.
func (r *PluginBindingReconciler) observe(ctx context.Context, p *pass) *stop {
	p.facts = identity.Facts{
		Recorded: string(p.binding.Status.PluginID),
		Import:   string(p.binding.Spec.PluginID),
		Adoption: adoptionOf(p.binding),
	}
	if r.untouched(p) {
		return &stop{}
	}
	p.doubt = r.quietIn(p)
	if p.unseen() && !r.Ledger.Sent(p.binding) {
		return p.inDoubt()
	}
	if err := p.gatherFacts(ctx); err != nil {
		return r.kongFailed(p, err)
	}
	if p.mayResolve && !p.confirmed() {
		// The view only proposes: what the scope means now is asked of Kong.
		p.mayRely, p.mayTellAbsence, p.mayResolve = false, false, false
		if s := r.resolveScope(ctx, p); s != nil {
			return s
		}
		p.want.Scope = p.scope
		if err := p.gatherFacts(ctx); err != nil {
			return r.kongFailed(p, err)
		}
	}
	return nil
}

// untouched reports whether everything is as it was when this process last saw the plugin
// in force: the declaration with its Secrets, what the scope means, and the plugin in the
// view. After an outage of the gateway that is most bindings, and none costs a request.
func (r *PluginBindingReconciler) untouched(p *pass) bool {
	status := &p.binding.Status
	return p.mayRely && p.wasInForce() && status.Scope != nil &&
		r.Ledger.SameSecrets(p.binding, strings.Join(p.secretVersions, ",")) &&
		r.Ledger.Fingerprint(p.binding) == p.connection.View.fingerprint(p.facts.Recorded) &&
		p.want.Scope == boundScope(status.Scope)
}

func (p *pass) gatherFacts(ctx context.Context) error {
	if p.facts.Recorded != "" {
		return p.observeRecorded(ctx)
	}
	return p.observeUnrecorded(ctx)
}

// confirmed reports whether these facts may be acted on although the view said what the
// scope means: nothing is written, or nothing but what Kong itself refuses should another
// plugin have the place that the declared names mean by then.
func (p *pass) confirmed() bool {
	switch identity.Decide(p.facts).Operation {
	case identity.None, identity.RecordID:
		return true
	case identity.Create:
		return p.resolvesAtWrite()
	case identity.Put:
		if have, exists := p.seen[p.facts.Recorded]; exists {
			return have.Scope == p.want.Scope
		}
		return p.resolvesAtWrite()
	default:
		return false
	}
}

// resolvesAtWrite reports whether a write says what its scope is as the binding does, by
// names or by the IDs that are declared, so that it cannot hit what a name meant before.
func (p *pass) resolvesAtWrite() bool {
	for _, part := range scopeParts(p.binding.Spec.Scope) {
		if part.ref.CustomID != "" || part.ref.ID == "" && p.want.ScopeNames == (plugin.ScopeNames{}) {
			return false
		}
	}
	return true
}

func adoptionOf(binding *v1alpha1.PluginBinding) identity.Adoption {
	switch binding.Spec.AdoptionPolicy {
	case v1alpha1.AdoptOverride:
		return identity.AdoptOverride
	case v1alpha1.AdoptNever:
		return identity.AdoptNever
	default:
		return identity.AdoptIfIdentical
	}
}

func (p *pass) observeRecorded(ctx context.Context) (err error) {
	f := &p.facts
	if p.viewShowsInForce() {
		f.ByKey = f.ByID
		return nil
	}
	if f.ByID, err = p.lookByID(ctx, f.Recorded); err != nil {
		return err
	}
	if f.ByID.Ownership == identity.Absent {
		if f.ByName, err = p.lookByName(ctx); err != nil || f.ByName.Ownership.Found() {
			return err
		}
	} else if have := p.seen[f.Recorded]; have.Name == p.want.Name && have.Scope == p.want.Scope {
		// Kong keeps one plugin per name and scope: the holder is this one.
		f.ByKey = f.ByID
		return nil
	}
	f.ByKey, err = p.lookByKey(ctx)
	return err
}

// viewShowsInForce takes the view's word for a plugin that is just as declared. Any other
// sight of it is worth a request.
func (p *pass) viewShowsInForce() bool {
	if !p.mayRely {
		return false
	}
	row, ok := p.connection.View.row(p.facts.Recorded)
	if !ok {
		return false
	}
	sighting, _ := p.sighting(row, nil)
	if sighting.Ownership != identity.Owned || !sighting.Equal || row.Scope != p.want.Scope {
		delete(p.seen, row.ID)
		return false
	}
	p.facts.ByID = sighting
	return true
}

func (p *pass) observeUnrecorded(ctx context.Context) (err error) {
	f := &p.facts
	if f.ByName, err = p.lookByName(ctx); err != nil || f.ByName.Ownership == identity.Owned {
		return err
	}
	if f.Import != "" {
		f.ByID, err = p.lookByID(ctx, f.Import)
		return err
	}
	f.ByKey, err = p.lookByKey(ctx)
	return err
}

func (p *pass) lookByID(ctx context.Context, id string) (identity.Observation, error) {
	return p.sighting(p.connection.Kong.PluginByID(ctx, id))
}

func (p *pass) lookByKey(ctx context.Context) (identity.Observation, error) {
	return p.sighting(p.connection.Kong.PluginAt(ctx, p.want.Name, p.want.Scope))
}

// lookByName finds what answers to the binding's instance name or, failing that, what
// bears its owner tags (its instance name was changed by hand, or in the spec).
func (p *pass) lookByName(ctx context.Context) (identity.Observation, error) {
	named, err := p.lookByInstanceName(ctx, p.instanceName())
	if err != nil || named.Ownership == identity.Owned {
		return named, err
	}
	if p.mayTellAbsence && !p.connection.View.owns(p.identity) {
		// Whoever reads all tags finds none of this binding's: only its instance name, which
		// was asked for just now, could have come since.
		return named, nil
	}
	if generated := p.identity.InstanceName(); generated != p.instanceName() {
		// What was made before spec.instanceName was given is found without a list, which may
		// lack a row.
		if before, err := p.lookByInstanceName(ctx, generated); err != nil || before.Ownership == identity.Owned {
			return before, err
		}
	}
	tagged, err := p.connection.Kong.PluginsByTags(ctx, p.identity.LookupTags())
	if err != nil {
		return identity.Observation{}, err
	}
	// The oldest first: should there ever be two, the first that Kong made is the one.
	slices.SortFunc(tagged, func(a, b plugin.Plugin) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	for _, candidate := range tagged {
		if sighting, _ := p.sighting(candidate, nil); sighting.Ownership == identity.Owned {
			return sighting, nil
		}
	}
	return named, nil
}

func (p *pass) lookByInstanceName(ctx context.Context, name string) (identity.Observation, error) {
	named, err := p.sighting(p.connection.Kong.PluginByInstanceName(ctx, name))
	if adminapi.ReasonForError(err) == adminapi.Invalid {
		// What cannot be asked for, no plugin has; a deletion must not wait for it.
		return identity.Observation{Ownership: identity.Absent}, nil
	}
	return named, err
}

// sighting says what an answer means to this binding.
func (p *pass) sighting(have plugin.Plugin, err error) (identity.Observation, error) {
	if adminapi.IsNotFound(err) {
		return identity.Observation{Ownership: identity.Absent}, nil
	}
	if err != nil {
		return identity.Observation{}, err
	}
	p.seen[have.ID] = have
	standing, owner := identity.OwnershipOf(p.identity, have.Tags, have.InstanceName)
	sighting := identity.Observation{
		Ownership:  standing,
		ID:         have.ID,
		Owner:      owner,
		SamePlugin: have.Name == string(p.binding.Spec.Plugin),
	}
	if sighting.SamePlugin && p.schema != nil {
		differences := p.differences(have)
		sighting.Equal = len(differences) == 0 || p.settled(have, differences)
		sighting.SameTraffic = !slices.ContainsFunc(differences, touchesTraffic)
	}
	return sighting, nil
}

// differences names the fields in which a plugin is not as declared. A name that only a
// Secret knows is none to be shown.
func (p *pass) differences(have plugin.Plugin) []string {
	fields := plugin.Differences(p.want, have, p.schema)
	for i, field := range fields {
		fields[i] = p.redactor.RedactPath(field)
	}
	return fields
}

// touchesTraffic tells the fields that change what the proxy does from the marks.
func touchesTraffic(field string) bool {
	return field != plugin.FieldTags && field != plugin.FieldInstanceName
}

// settled reports whether these differences are what Kong made of the last write: the
// plugin has not been touched since, the declaration is the same, and so are its Secrets.
// It keeps a plugin whose config Kong changes in a way that the comparison does not know
// from being written for ever.
func (p *pass) settled(have plugin.Plugin, differences []string) bool {
	last := p.binding.Status.AcceptedDifferences
	if last == nil || last.Generation != p.binding.Generation || last.UpdatedAt != have.UpdatedAt {
		return false
	}
	if !slices.Equal(last.SecretVersions, p.secretVersions) {
		return false
	}
	for _, field := range bounded(differences) {
		if !slices.Contains(last.Fields, field) {
			return false
		}
	}
	return true
}

// decide asks the pure function. While an earlier write can still be done, nothing is
// started that a plugin which appears later would stand beside: that write may have another
// instance name and another scope than those that were looked at. What bears the binding's
// marks by now is taken at once.
func (r *PluginBindingReconciler) decide(_ context.Context, p *pass) *stop {
	p.action = identity.Decide(p.facts)
	if s := p.importsFromElsewhere(); s != nil {
		return s
	}
	if p.doubt <= 0 || p.observes() || !slices.Contains(startsOwnership, p.action.Operation) {
		return nil
	}
	return p.inDoubt()
}

// unseen reports whether nothing would come of looking now, unless this process has sent
// something: a plugin may be neither made nor adopted yet, and the view shows none with the
// binding's marks that could be taken at once. So a new leader with thousands of new bindings
// looks for each once, and not before and after it has waited.
func (p *pass) unseen() bool {
	return p.doubt > 0 && p.facts.Recorded == "" && !p.observes() && p.connection.View != nil && !p.connection.View.owns(p.identity)
}

// inDoubt waits for an earlier write. Of a binding of which nothing has been said yet, that
// is no news; nor of one whose last write Kong did not answer, which its conditions tell.
func (p *pass) inDoubt() *stop {
	ready := meta.FindStatusCondition(p.binding.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Reason == v1alpha1.ReasonKongUnavailable && ready.ObservedGeneration == p.binding.Generation {
		return &stop{again: true, after: p.doubt}
	}
	return &stop{
		condition: v1alpha1.ConditionProgrammed,
		unknown:   true,
		transient: true,
		reason:    v1alpha1.ReasonProgramming,
		message:   "waiting until no earlier write to Kong can still be done, before a plugin is made or adopted",
		after:     p.doubt,
	}
}

// importsFromElsewhere refuses an import that would move a plugin, unless the binding is in
// the gateway's own namespace: what a gateway allows speaks of where a plugin applies, and a
// plugin that is taken away from there protects nothing any more.
func (p *pass) importsFromElsewhere() *stop {
	if p.action.Operation != identity.Adopt || p.facts.Import == "" || p.binding.Namespace == p.kgw.Namespace {
		return nil
	}
	if have := p.seen[p.action.ID]; have.Scope == p.want.Scope {
		return nil
	}
	return &stop{
		condition: v1alpha1.ConditionAccepted,
		reason:    v1alpha1.ReasonNotAllowedByGateway,
		message: fmt.Sprintf("plugin %s, which spec.pluginID names, applies to something else than spec.scope; from outside the namespace of KongGateway %s a plugin can be imported only where it is: correct spec.scope, or make the binding there",
			p.action.ID, p.gateway),
		after: resyncOf(p.kgw),
	}
}

// startsOwnership are the verbs that give the binding a plugin that bore none of its marks.
var startsOwnership = []identity.Operation{identity.Create, identity.Adopt, identity.TakeOver}
