package handover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// DefaultTag is on everything that the ingress controller makes, unless its flag says otherwise.
const DefaultTag = "managed-by-ingress-controller"

// kongPluginKinds are the kinds from which the ingress controller makes plugins.
var kongPluginKinds = []string{kic.KongPlugin, kic.KongClusterPlugin}

// survey is what Kong has.
type survey struct {
	// plugins of all owners.
	plugins []plugin.Plugin
	// entities that the ingress controller made, by ID.
	entities map[string]entity
	tag      string
}

type entity struct {
	adminapi.Entity
	kind   adminapi.EntityKind
	object kic.Object
	uid    types.UID
}

// takeSurvey reads all plugins, and the entities that the ingress controller made.
func takeSurvey(ctx context.Context, kong Kong, tag string) (*survey, error) {
	s := &survey{entities: map[string]entity{}, tag: tag}
	if err := kong.VisitAll(ctx, func(p plugin.Plugin) { s.plugins = append(s.plugins, p) }); err != nil {
		return nil, fmt.Errorf("the plugins of this Kong cannot be read: %w", err)
	}
	for _, kind := range []adminapi.EntityKind{adminapi.Service, adminapi.Route, adminapi.Consumer, adminapi.ConsumerGroup} {
		err := kong.EntitiesByTags(ctx, kind, adminapi.NewTagSet(tag), func(e adminapi.Entity) {
			object, uid, _ := kic.ObjectOf(e.Tags)
			s.entities[e.ID] = entity{Entity: e, kind: kind, object: object, uid: uid}
		})
		if err != nil {
			return nil, fmt.Errorf("the %ss of this Kong cannot be read: %w", kind, err)
		}
	}
	return s, nil
}

// attachment is one KongPlugin on one object, with what the ingress controller made of it.
type attachment struct {
	// plugin is the KongPlugin or KongClusterPlugin.
	plugin kic.Object
	// object has the annotation; empty for a global plugin.
	object kic.Object
	uid    types.UID
	// combined: the plugins apply to a consumer together with a route or a service.
	combined bool
	rows     []plugin.Plugin
}

func (a *attachment) String() string {
	if a.object == (kic.Object{}) {
		return a.plugin.String() + " (global)"
	}
	return a.plugin.String() + " on " + a.object.String()
}

// unmapped is a plugin of the ingress controller of which nobody can say what it belongs to.
type unmapped struct {
	row    plugin.Plugin
	plugin kic.Object
	why    string
}

// attachments maps every plugin of the ingress controller to the KongPlugin and the object of which it
// was made, in a stable order.
func (s *survey) attachments() (found []*attachment, lost []unmapped) {
	type key struct{ plugin, object kic.Object }
	byKey := map[key]*attachment{}
	for _, row := range s.plugins {
		if !slices.Contains(row.Tags, s.tag) {
			continue
		}
		of, _, ok := kic.ObjectOf(row.Tags)
		if !ok || !slices.Contains(kongPluginKinds, of.Kind) {
			lost = append(lost, unmapped{row, of, "its tags name no KongPlugin"})
			continue
		}
		on, why := s.carrierOf(row.Scope)
		if why != "" {
			lost = append(lost, unmapped{row, of, why})
			continue
		}
		a := byKey[key{of, on.object}]
		if a == nil {
			a = &attachment{plugin: of, object: on.object, uid: on.uid}
			byKey[key{of, on.object}] = a
			found = append(found, a)
		}
		a.combined = a.combined || row.Scope.ConsumerID != "" && (row.Scope.RouteID != "" || row.Scope.ServiceID != "")
		a.rows = append(a.rows, row)
	}
	slices.SortFunc(found, compareAttachments)
	return found, lost
}

// carrierOf returns the entity whose object carries the annotation for a plugin of that scope. Of a route
// and a consumer it is the route.
func (s *survey) carrierOf(scope plugin.Scope) (entity, string) {
	id := cmp.Or(scope.RouteID, scope.ServiceID, scope.ConsumerID, scope.ConsumerGroupID)
	if id == "" {
		return entity{}, ""
	}
	e, known := s.entities[id]
	switch {
	case !known:
		return e, fmt.Sprintf("it applies to %s, which the ingress controller did not make", id)
	case e.object.Name == "" || e.uid == "":
		return e, fmt.Sprintf("the tags of %s %s name no object", e.kind, e.Name)
	default:
		return e, ""
	}
}

// order of the kinds: what applies to routes first, so that what a Service loses is already covered.
var order = map[string]int{"Service": 1, "KongConsumer": 2, "KongConsumerGroup": 2, "": 3}

func compareAttachments(a, b *attachment) int {
	return cmp.Or(
		cmp.Compare(order[a.object.Kind], order[b.object.Kind]),
		strings.Compare(a.object.Namespace, b.object.Namespace), strings.Compare(a.object.Kind, b.object.Kind), strings.Compare(a.object.Name, b.object.Name),
		strings.Compare(a.plugin.Namespace, b.plugin.Namespace), strings.Compare(a.plugin.Name, b.plugin.Name), strings.Compare(a.plugin.Kind, b.plugin.Kind),
	)
}

// tagsOf are the tags by which Kong finds what was made of an object.
func tagsOf(object kic.Object) []string {
	tags := kic.TagsOf(object.Kind, object.Namespace, object.Name)
	if object.Namespace == "" { // a cluster-scoped object has no such tag
		tags = slices.Delete(tags, 1, 2)
	}
	return tags
}
