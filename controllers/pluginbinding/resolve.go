package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// resolve turns names and Secrets into the plugin that should be.
func (r *PluginBindingReconciler) resolve(ctx context.Context, p *pass) *stop {
	if view := p.connection.View; view != nil {
		p.mayRely = r.Ledger.MayRely(p.binding, view.began, p.requested())
		p.mayTellAbsence = p.mayRely && !r.Ledger.MayMiss(p.binding, view.began, longestWrite(p))
		p.mayResolve = r.Ledger.MayResolve(p.binding, view.began, p.requested())
	}
	secrets := &secretReader{ctx: ctx, reader: r.Live, namespace: p.binding.Namespace, read: map[string]*corev1.Secret{}}
	if s := r.render(p, secrets); s != nil {
		return s
	}
	p.secretVersions = secrets.versions()
	if s := p.bringsCode(); s != nil {
		return s
	}
	if s := r.resolveScope(ctx, p); s != nil {
		return s
	}
	p.want.Scope = p.scope
	if len(p.want.Protocols) == 0 {
		// Kong holds protocols against the service's routes before it resolves a name, finds
		// none, and refuses (kong/db/dao/plugins.lua).
		p.want.ScopeNames = namesOf(p.binding.Spec.Scope)
	}
	return r.fetchSchema(ctx, p)
}

func (r *PluginBindingReconciler) render(p *pass, secrets *secretReader) *stop {
	if name := p.instanceName(); name != p.identity.InstanceName() && strings.HasPrefix(name, r.Cluster+".") {
		return refused(v1alpha1.ReasonInvalidConfig,
			fmt.Sprintf("spec.instanceName begins with %s., which is kept for the names that the operator makes itself; choose another one", r.Cluster))
	}
	rendered, err := plugin.Render(plugin.Inputs{
		Spec:          &p.binding.Spec,
		InstanceName:  p.instanceName(),
		OwnershipTags: p.identity.OwnershipTags(),
		Secret:        secrets.get,
	})
	var (
		missing *missingSecretError
		config  *plugin.ConfigError
	)
	switch {
	case err == nil:
		p.want, p.redactor = rendered.Plugin, rendered.Redactor
		return nil
	case errors.As(err, &missing):
		return &stop{
			condition: v1alpha1.ConditionResolvedRefs,
			reason:    v1alpha1.ReasonSecretNotFound,
			message:   missing.Error(),
		}
	case errors.As(err, &config):
		return refused(v1alpha1.ReasonInvalidConfig, config.Error())
	default:
		s := kubernetesStop(err)
		if s.condition != "" {
			s.condition = v1alpha1.ConditionResolvedRefs
		}
		return s
	}
}

// instanceName of the plugin in Kong.
func (p *pass) instanceName() string {
	if name := p.binding.Spec.InstanceName; name != "" {
		return string(name)
	}
	return p.identity.InstanceName()
}

// resolveScope finds the IDs of the entities that the scope names: in the view, and what it
// does not show, in Kong.
func (r *PluginBindingReconciler) resolveScope(ctx context.Context, p *pass) *stop {
	for _, part := range scopeParts(p.binding.Spec.Scope) {
		id := ""
		if p.mayResolve {
			id = p.connection.View.resolve(part.kind, part.ref)
		}
		if id == "" {
			var err error
			if id, err = p.connection.Kong.Resolve(ctx, part.kind, part.ref); adminapi.IsNotFound(err) {
				return scopeNotFound(p, part)
			} else if adminapi.ReasonForError(err) == adminapi.Ambiguous {
				return scopeAmbiguous(p, part)
			} else if err != nil {
				return r.kongFailed(p, err)
			}
		}
		part.set(&p.scope, id)
	}
	p.resolved = true
	return nil
}

func scopeNotFound(p *pass, part scopePart) *stop {
	return &stop{
		condition: v1alpha1.ConditionResolvedRefs,
		reason:    v1alpha1.ReasonScopeNotFound,
		message: fmt.Sprintf("KongGateway %s has no %s; Kong removes a plugin together with what it applies to, and the operator brings it back under its ID when that exists again",
			p.gateway, scopeWord(part.kind, part.ref)),
		after: resyncOf(p.kgw),
	}
}

func scopeAmbiguous(p *pass, part scopePart) *stop {
	return &stop{
		condition: v1alpha1.ConditionResolvedRefs,
		reason:    v1alpha1.ReasonScopeAmbiguous,
		message:   fmt.Sprintf("KongGateway %s has more than one %s; name it by username or id", p.gateway, scopeWord(part.kind, part.ref)),
		after:     resyncOf(p.kgw),
	}
}

// namesOf are the names by which a scope is declared. A custom_id is none that Kong
// resolves.
func namesOf(scope *v1alpha1.Scope) plugin.ScopeNames {
	var names plugin.ScopeNames
	for _, part := range scopeParts(scope) {
		switch part.kind {
		case adminapi.Service:
			names.Service = part.ref.Name
		case adminapi.Route:
			names.Route = part.ref.Name
		case adminapi.Consumer:
			names.Consumer = part.ref.Username
		case adminapi.ConsumerGroup:
			names.ConsumerGroup = part.ref.Name
		}
	}
	return names
}

// kindWords are the words of Kong's documentation for its entities.
var kindWords = map[adminapi.EntityKind]string{
	adminapi.Service:       "service",
	adminapi.Route:         "route",
	adminapi.Consumer:      "consumer",
	adminapi.ConsumerGroup: "consumer group",
}

func scopeWord(kind adminapi.EntityKind, ref adminapi.EntityRef) string {
	word := kindWords[kind]
	switch {
	case ref.ID != "":
		return fmt.Sprintf("%s with the id %s", word, ref.ID)
	case ref.Username != "":
		return fmt.Sprintf("%s with the username %q", word, ref.Username)
	case ref.CustomID != "":
		return fmt.Sprintf("%s with the custom id %q", word, ref.CustomID)
	default:
		return fmt.Sprintf("%s named %q", word, ref.Name)
	}
}

// scopeSummary says in a few characters what a binding's scope is, as it is declared.
func scopeSummary(scope *v1alpha1.Scope) string {
	var words []string
	for _, part := range scopeParts(scope) {
		word := strings.ReplaceAll(kindWords[part.kind], " ", "-")
		words = append(words, word+"/"+cmp.Or(part.ref.Name, part.ref.Username, part.ref.CustomID, part.ref.ID))
	}
	return cmp.Or(strings.Join(words, "+"), "global")
}

func (r *PluginBindingReconciler) fetchSchema(ctx context.Context, p *pass) *stop {
	schema, err := p.connection.Kong.Schema(ctx, string(p.binding.Spec.Plugin))
	if adminapi.IsNotFound(err) {
		return &stop{
			condition: v1alpha1.ConditionProgrammed,
			reason:    v1alpha1.ReasonPluginNotInstalled,
			message: fmt.Sprintf("the Kong of KongGateway %s has no plugin %q; install it and add it to Kong's plugins setting, or correct spec.plugin in a new binding",
				p.gateway, p.binding.Spec.Plugin),
			after: slowRetry,
		}
	}
	if err != nil {
		return r.kongFailed(p, err)
	}
	p.schema = schema
	p.redactor.AllowFieldNames(schema)
	return nil
}

// missingSecretError says which Secret or key is not there.
type missingSecretError struct{ namespace, name, key string }

func (e *missingSecretError) Error() string {
	if e.key == "" {
		return fmt.Sprintf("there is no Secret %s in namespace %s; create it, or correct its name", e.name, e.namespace)
	}
	return fmt.Sprintf("Secret %s in namespace %s has no key %s; add it, or correct its name", e.name, e.namespace, e.key)
}

// secretReader reads each Secret of one pass once, from the API server itself, so that
// all keys of a pass are of one version.
type secretReader struct {
	ctx       context.Context //nolint:containedctx // lives as long as the pass, and plugin.Render's callback has none
	reader    client.Reader
	namespace string
	read      map[string]*corev1.Secret
}

func (s *secretReader) get(ref v1alpha1.SecretKeyRef) ([]byte, error) {
	secret, err := s.secret(ref.Name)
	if err != nil {
		return nil, err
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return nil, &missingSecretError{s.namespace, ref.Name, ref.Key}
	}
	return value, nil
}

func (s *secretReader) secret(name string) (*corev1.Secret, error) {
	if secret, ok := s.read[name]; ok {
		return secret, nil
	}
	secret := &corev1.Secret{}
	err := s.reader.Get(s.ctx, types.NamespacedName{Namespace: s.namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, &missingSecretError{s.namespace, name, ""}
	}
	if err != nil {
		return nil, err
	}
	s.read[name] = secret
	return secret, nil
}

// versions names the Secrets that were read, with their resource versions, sorted.
func (s *secretReader) versions() []string {
	versions := make([]string, 0, len(s.read))
	for name, secret := range s.read {
		versions = append(versions, name+"@"+secret.ResourceVersion)
	}
	slices.Sort(versions)
	return versions
}
