package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/identity"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
	"github.com/pluginbinding/kong-plugin-operator/internal/retained"
)

// checkup is the diagnosis of one Kong.
type checkup struct {
	*diagnosis
	kong *Kong
	name string // of the gateway in findings
	// bindings on this Kong, by namespace and name.
	bindings map[types.NamespacedName]*v1alpha1.PluginBinding
	gateways []*v1alpha1.KongGateway
	// names of entities, by ID.
	names map[string]string
}

func (d *diagnosis) kong(kong *Kong) {
	c := &checkup{diagnosis: d, kong: kong, name: kong.Gateways[0].String(), bindings: map[types.NamespacedName]*v1alpha1.PluginBinding{}, names: map[string]string{}}
	for _, entities := range kong.Entities {
		for _, entity := range entities {
			c.names[entity.ID] = entity.Name
		}
	}
	for i := range d.Bindings {
		if slices.Contains(kong.Gateways, reference.GatewayOf(&d.Bindings[i])) {
			c.bindings[client.ObjectKeyFromObject(&d.Bindings[i])] = &d.Bindings[i]
		}
	}
	for i := range d.Gateways {
		if slices.Contains(kong.Gateways, client.ObjectKeyFromObject(&d.Gateways[i])) {
			c.gateways = append(c.gateways, &d.Gateways[i])
		}
	}
	c.duplicates()
	c.missing()
	c.owners(c.clusterID())
	c.entities()
}

// clusterID is the ID of this cluster in ownership tags: the one that the user named, the one in the tags
// of plugins that bindings here have recorded, or the operator's default.
func (c *checkup) clusterID() string {
	if c.Cluster != "" {
		return c.Cluster
	}
	votes := map[string]int{}
	best := c.Default
	for _, row := range c.kong.Plugins {
		owner := identity.OwnerOf(row.Tags).Binding
		if owner == nil {
			continue
		}
		binding := c.bindings[types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}]
		if binding == nil || string(binding.Status.PluginID) != row.ID {
			continue
		}
		if votes[owner.Cluster]++; votes[owner.Cluster] > votes[best] {
			best = owner.Cluster
		}
	}
	return best
}

// duplicates finds plugins with one plugin name and scope, which Kong's unique key forbids: an index is
// missing, as after a restore. And it finds several plugins of one binding.
func (c *checkup) duplicates() {
	byKey, byOwner := map[string][]plugin.Plugin{}, map[string][]plugin.Plugin{}
	for _, row := range c.kong.Plugins {
		key := row.Name + " " + reference.ResolvedPlace(row.Scope.ServiceID, row.Scope.RouteID, row.Scope.ConsumerID, row.Scope.ConsumerGroupID)
		byKey[key] = append(byKey[key], row)
		if owner := identity.OwnerOf(row.Tags).Binding; owner != nil {
			key := owner.Cluster + " " + owner.Namespace + "/" + owner.Name
			byOwner[key] = append(byOwner[key], row)
		}
	}
	for _, rows := range byKey {
		if len(rows) > 1 {
			c.duplicate(rows, "are all "+c.describe(rows[0])+": the database has lost its unique index, and Kong runs one of them",
				"Then restore the unique index of the table plugins: without it this happens again.")
		}
	}
	for _, rows := range byOwner {
		keys := map[plugin.Scope]bool{}
		for _, row := range rows {
			keys[row.Scope] = true
		}
		if len(rows) > 1 && len(keys) > 1 {
			c.duplicate(rows, "all have the ownership tags of one binding", "")
		}
	}
}

func (c *checkup) duplicate(rows []plugin.Plugin, what, then string) {
	slices.SortFunc(rows, func(a, b plugin.Plugin) int {
		return cmp.Or(cmp.Compare(c.rank(a), c.rank(b)), cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	keep := "the older one"
	if name := c.recordedBy(rows[0].ID); name != "" {
		keep = "the one that PluginBinding " + name + " has recorded"
	}
	next := fmt.Sprintf("Keep %s, %s. Compare, and delete in Kong: DELETE /plugins/%s", ids[0], keep, strings.Join(ids[1:], " and /plugins/"))
	if then != "" {
		next += ". " + then
	}
	c.found.add(DuplicatePlugin, Error, c.name, "plugin "+ids[0], fmt.Sprintf("The plugins %s %s.", strings.Join(ids, ", "), what), next)
}

// rank orders rows by who needs them.
func (c *checkup) rank(row plugin.Plugin) int {
	if c.recordedBy(row.ID) != "" {
		return 0
	}
	return 1
}

func (c *checkup) recordedBy(id string) string {
	for key, binding := range c.bindings {
		if string(binding.Status.PluginID) == id {
			return key.String()
		}
	}
	return ""
}

// describe names the plugin and the scope of a row.
func (c *checkup) describe(row plugin.Plugin) string {
	var words []string
	for _, entity := range reference.EntitiesOf(row.Scope) {
		if name := c.names[entity.Ref.ID]; name != "" {
			entity.Ref = adminapi.EntityRef{Name: name}
		}
		words = append(words, entity.String())
	}
	return row.Name + " on " + cmp.Or(strings.Join(words, " and "), "the global scope")
}

// missing finds recorded plugins that the complete list does not have.
func (c *checkup) missing() {
	exists := make(map[string]bool, len(c.kong.Plugins))
	for _, row := range c.kong.Plugins {
		exists[row.ID] = true
	}
	for key, binding := range c.bindings {
		id := string(binding.Status.PluginID)
		if id == "" || exists[id] || !c.within(key.Namespace) || !binding.DeletionTimestamp.IsZero() {
			continue
		}
		next := "The operator restores it under its ID: kubectl annotate --overwrite pluginbinding -n " + key.Namespace + " " + key.Name + " " +
			v1alpha1.ReconcileRequestedAtAnnotation + "=$(date +%s). If it does not, the condition Ready says why."
		if !reference.AllowsWrites(binding) {
			next = "The binding is paused or observed, so the operator does not restore it: remove the annotation " + v1alpha1.PausedAnnotation + ", or set managementPolicy to Manage."
		}
		c.found.add(PluginMissing, Error, c.name, "PluginBinding "+key.String(), "Kong does not have its plugin "+id+".", next)
	}
}

// owners finds plugins with the ownership tags of bindings that do not exist.
func (c *checkup) owners(cluster string) {
	if !c.AllBindings || cluster == "" {
		return // a problem says so
	}
	others := map[string][]string{}
	for _, row := range c.kong.Plugins {
		_, owner := identity.OwnershipOf(identity.Binding{Cluster: cluster}, row.Tags, row.InstanceName)
		switch {
		case owner.Binding == nil:
		case owner.Binding.Cluster != cluster:
			others[owner.Binding.Cluster] = append(others[owner.Binding.Cluster], row.ID)
		default:
			c.orphan(row, owner.Binding)
		}
	}
	for other, ids := range others {
		c.found.add(OtherCluster, Info, c.name, "cluster "+other, fmt.Sprintf("Kong has %d plugins of that cluster, and bindings here do not touch them: %s.", len(ids), firstOf(sortedStrings(ids))),
			"If that is a former ID of this cluster, start the operator with --cluster-id="+other+". If the cluster is gone for good, delete its plugins in Kong, or take them over with adoptionPolicy Override.")
	}
}

func (c *checkup) orphan(row plugin.Plugin, owner *identity.Binding) {
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	object := "plugin " + row.ID
	switch binding := c.bindings[key]; {
	case !c.within(owner.Namespace), c.isRetained(owner.Namespace, row.ID):
	case binding == nil:
		c.found.add(OrphanedPlugin, Warning, c.name, object, fmt.Sprintf("It is %s and belongs to PluginBinding %s, which does not exist.", c.describe(row), key),
			"Restore the binding, or let a binding with the same plugin and scope take it over, or delete it in Kong: DELETE /plugins/"+row.ID+". With --cluster-id set, the operator deletes it itself.")
	case binding.Status.PluginID != "" && string(binding.Status.PluginID) != row.ID && !c.hasTwo(row):
		c.found.add(OrphanedPlugin, Warning, c.name, object, fmt.Sprintf("It is %s and has the ownership tags of PluginBinding %s, which has recorded %s.", c.describe(row), key, binding.Status.PluginID),
			"Delete it in Kong: DELETE /plugins/"+row.ID+". With --cluster-id set, the operator deletes it itself.")
	}
}

// hasTwo reports whether the recorded plugin of the row's binding exists as well: a duplicate, then.
func (c *checkup) hasTwo(row plugin.Plugin) bool {
	owner := identity.OwnerOf(row.Tags).Binding
	return slices.ContainsFunc(c.kong.Plugins, func(other plugin.Plugin) bool {
		second := identity.OwnerOf(other.Tags).Binding
		return other.ID != row.ID && owner != nil && second != nil && second.Same(*owner)
	})
}

func (c *checkup) isRetained(namespace, id string) bool {
	return slices.ContainsFunc(c.gateways, func(gateway *v1alpha1.KongGateway) bool { return retained.Of(gateway).Covers(true, namespace, id) })
}

// entities finds entities without the tag of a namespace, where a gateway lets bindings use only those of
// their own.
func (c *checkup) entities() {
	strict := slices.ContainsFunc(c.gateways, func(gateway *v1alpha1.KongGateway) bool {
		return gateway.Spec.AllowedBindings != nil && gateway.Spec.AllowedBindings.Entities == v1alpha1.EntitiesSameNamespace
	})
	if !strict {
		return
	}
	for _, kind := range []adminapi.EntityKind{adminapi.Service, adminapi.Route, adminapi.Consumer, adminapi.ConsumerGroup} {
		var names []string
		for _, entity := range c.kong.Entities[kind] {
			if !slices.ContainsFunc(entity.Tags, func(tag string) bool { return strings.HasPrefix(tag, "k8s-namespace:") }) {
				names = append(names, cmp.Or(entity.Name, entity.CustomID, entity.ID))
			}
		}
		if len(names) > 0 {
			c.found.add(EntityWithoutNamespace, Warning, c.name, string(kind)+"s", fmt.Sprintf("%d of them have no tag k8s-namespace: %s. allowedBindings.entities is SameNamespace, so only bindings in the gateway's namespace can use them.", len(names), firstOf(sortedStrings(names))),
				"Add the tag k8s-namespace:<namespace> to each in Kong, with the tool that manages them.")
		}
	}
}
