package tenancy

import (
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// maxSelectorValues bounds the values of all matchExpressions of one selector. The API server
// bounds the number of expressions, but not that of their values.
const maxSelectorValues = 1024

// Namespace is a namespace with its labels.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Policy is what one KongGateway allows to other namespaces. It is read-only and shares memory with
// the KongGateway that it was made from. The zero Policy allows nothing.
type Policy struct {
	gateway       types.NamespacedName
	namespaces    namespaceSet
	plugins       v1alpha1.AllowedPlugins
	grants        []grant
	code          v1alpha1.CodePolicy
	globalPlugins v1alpha1.GlobalPluginsPolicy
	selectors     v1alpha1.EntitySelectorsPolicy
	entities      v1alpha1.EntityPolicy
	adoption      v1alpha1.AdoptionLimit
	maxBindings   int
	gateways      namespaceSet
}

// grant is a compiled PluginGrant.
type grant struct {
	namespaces namespaceSet
	plugins    []v1alpha1.PluginName
}

// namespaceSet is a compiled AllowedNamespaces. The zero value is empty.
type namespaceSet struct {
	own      string
	all      bool
	selector labels.Selector
}

func (s namespaceSet) has(n Namespace) bool {
	switch {
	case s.all:
		return true
	case s.selector != nil:
		return s.selector.Matches(labels.Set(n.Labels))
	default:
		return n.Name != "" && n.Name == s.own
	}
}

// NewPolicy compiles the policy of a gateway. A selector that is not valid selects no namespace,
// and the error names its field. The policy can be used in spite of an error.
func NewPolicy(gateway *v1alpha1.KongGateway) (Policy, error) {
	p := Policy{gateway: types.NamespacedName{Namespace: gateway.Namespace, Name: gateway.Name}}
	var errs []error
	compile := func(field string, allowed *v1alpha1.AllowedNamespaces) namespaceSet {
		set, err := newNamespaceSet(gateway.Namespace, allowed)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.selector: %w", field, err))
		}
		return set
	}
	if allowed := gateway.Spec.AllowedGateways; allowed != nil {
		p.gateways = compile("spec.allowedGateways.namespaces", allowed.Namespaces)
	}
	allowed := gateway.Spec.AllowedBindings
	if allowed == nil {
		return p, errors.Join(errs...)
	}
	p.namespaces = compile("spec.allowedBindings.namespaces", allowed.Namespaces)
	for i, g := range allowed.Grants {
		field := fmt.Sprintf("spec.allowedBindings.grants[%d].namespaces", i)
		p.grants = append(p.grants, grant{namespaces: compile(field, &g.Namespaces), plugins: g.Plugins})
	}
	if allowed.Plugins != nil {
		p.plugins = *allowed.Plugins
	}
	if allowed.MaxBindingsPerNamespace != nil {
		p.maxBindings = max(int(*allowed.MaxBindingsPerNamespace), 1)
	}
	p.globalPlugins, p.selectors = allowed.GlobalPlugins, allowed.EntitySelectors
	p.code, p.entities, p.adoption = defaults(allowed)
	return p, errors.Join(errs...)
}

// defaults fills in what the API server fills in, for objects that did not come from it. A value
// that the API does not have becomes the strictest one.
func defaults(a *v1alpha1.AllowedBindings) (v1alpha1.CodePolicy, v1alpha1.EntityPolicy, v1alpha1.AdoptionLimit) {
	code, entities, adoption := a.Code, a.Entities, a.Adoption
	switch code {
	case "":
		code = v1alpha1.CodeNamed
	case v1alpha1.CodeNamed, v1alpha1.CodeAny:
	default:
		code = v1alpha1.CodeNone
	}
	switch entities {
	case "":
		entities = v1alpha1.EntitiesAll
	case v1alpha1.EntitiesAll:
	default:
		entities = v1alpha1.EntitiesSameNamespace
	}
	switch adoption {
	case "":
		adoption = v1alpha1.AdoptionUnowned
	case v1alpha1.AdoptionUnowned, v1alpha1.AdoptionAny:
	default:
		adoption = v1alpha1.AdoptionNone
	}
	return code, entities, adoption
}

func newNamespaceSet(own string, allowed *v1alpha1.AllowedNamespaces) (namespaceSet, error) {
	if allowed == nil {
		return namespaceSet{own: own}, nil
	}
	switch allowed.From {
	case v1alpha1.NamespacesFromAll:
		return namespaceSet{all: true}, nil
	case v1alpha1.NamespacesFromSelector:
		selector, err := compileSelector(allowed.Selector)
		return namespaceSet{selector: selector}, err
	default:
		return namespaceSet{own: own}, nil
	}
}

// compileSelector returns a selector that matches nothing if there is an error.
func compileSelector(selector *metav1.LabelSelector) (labels.Selector, error) {
	if selector != nil {
		values := 0
		for _, expression := range selector.MatchExpressions {
			values += len(expression.Values)
		}
		if values > maxSelectorValues {
			return labels.Nothing(), fmt.Errorf("has %d values in matchExpressions, and the maximum is %d", values, maxSelectorValues)
		}
	}
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing(), err
	}
	return compiled, nil
}

// Restricts reports whether the policy applies to bindings of a namespace. It does not apply to
// those in the gateway's own namespace.
func (p Policy) Restricts(namespace string) bool {
	return namespace == "" || namespace != p.gateway.Namespace
}

// name of the gateway, for messages.
func (p Policy) name() string { return short(p.gateway.String()) }

// NeedsRank reports whether Check needs Request.Rank.
func (p Policy) NeedsRank() bool { return p.maxBindings > 0 }

// NeedsTags reports whether Check needs the tags of Request.Entities.
func (p Policy) NeedsTags() bool { return p.entities == v1alpha1.EntitiesSameNamespace }

// named reports whether the policy lists the plugin for the namespace.
func (p Policy) named(n Namespace, plugin string) bool {
	name := v1alpha1.PluginName(plugin)
	return slices.Contains(p.plugins.Allow, name) || slices.ContainsFunc(p.grants, func(g grant) bool {
		return slices.Contains(g.plugins, name) && g.namespaces.has(n)
	})
}
