package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// clusterScoped are the resources that a Role in a namespace cannot give.
var clusterScoped = map[string]bool{
	"namespaces":           true,
	"tokenreviews":         true,
	"subjectaccessreviews": true,
}

// release is what one bundle is told about itself and the versions before it.
type release struct {
	// version of the operator, such as 1.2.3; the base's own if empty.
	version string
	// replaces is the version that an upgrade to this one starts from; none if empty.
	replaces string
	// skipRange are the versions that may be left out on the way, such as ">=1.0.0 <1.2.3".
	skipRange string
	// createdAt is a time as in RFC 3339; the base's own if empty.
	createdAt string
}

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// check completes the release from the base and refuses what OLM could not read.
func (r release) check(base *unstructured.Unstructured) (release, error) {
	if r.version == "" {
		r.version, _, _ = unstructured.NestedString(base.Object, "spec", "version")
	}
	if !semver.MatchString(r.version) {
		return r, fmt.Errorf("version %q: must be like 1.2.3", r.version)
	}
	if r.replaces != "" && !semver.MatchString(r.replaces) {
		return r, fmt.Errorf("the replaced version %q: must be like 1.2.3", r.replaces)
	}
	if r.replaces == r.version {
		return r, fmt.Errorf("version %s cannot replace itself", r.version)
	}
	if r.createdAt == "" {
		r.createdAt = base.GetAnnotations()["createdAt"]
	}
	if _, err := time.Parse(time.RFC3339, r.createdAt); err != nil {
		return r, fmt.Errorf("createdAt %q: must be like 2006-01-02T15:04:05Z", r.createdAt)
	}
	return r, nil
}

// needsMonitoring is what the description says of a bundle with monitoring: one item of a list.
var needsMonitoring = regexp.MustCompile(`(?m)^- The custom resource definitions ServiceMonitor .*\n(  .*\n)*`)

// clusterServiceVersion completes the base with what the other objects and the release say.
func (in *input) clusterServiceVersion(r release) (map[string]any, error) {
	csv := in.csv.DeepCopy()
	r, err := r.check(csv)
	if err != nil {
		return nil, err
	}
	if err := in.ownsItsCRDs(); err != nil {
		return nil, err
	}
	image, err := in.image()
	if err != nil {
		return nil, err
	}
	csv.SetNamespace("")
	csv.SetName(csvName(r.version))
	if err := in.annotate(csv, r, image); err != nil {
		return nil, err
	}
	spec, ok := csv.Object["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("the ClusterServiceVersion has no spec")
	}
	if description, ok := spec["description"].(string); ok && !in.monitored {
		spec["description"] = needsMonitoring.ReplaceAllString(description, "")
	}
	spec["version"] = r.version
	if r.replaces != "" {
		spec["replaces"] = csvName(r.replaces)
	}
	spec["relatedImages"] = []any{map[string]any{"name": "manager", "image": image}}
	spec["install"] = in.installStrategy()
	definitions, err := in.webhookDefinitions()
	if err != nil {
		return nil, err
	}
	if len(definitions) > 0 {
		spec["webhookdefinitions"] = definitions
	}
	return csv.Object, nil
}

func csvName(version string) string { return packageName + ".v" + version }

// annotate sets the annotations that follow from the other objects and the release.
func (in *input) annotate(csv *unstructured.Unstructured, r release, image string) error {
	examples, err := json.MarshalIndent(in.almExamples(), "", "  ")
	if err != nil {
		return err
	}
	annotations := csv.GetAnnotations()
	annotations["alm-examples"] = string(examples)
	annotations["containerImage"] = image
	annotations["createdAt"] = r.createdAt
	// A registry mirror finds images by digest, not by tag.
	annotations["features.operators.openshift.io/disconnected"] = strconv.FormatBool(strings.Contains(image, "@sha256:"))
	if in.monitored {
		annotations["operatorframework.io/cluster-monitoring"] = "true"
	}
	if r.skipRange != "" {
		annotations["olm.skipRange"] = r.skipRange
	}
	csv.SetAnnotations(annotations)
	return nil
}

func (in *input) installStrategy() map[string]any {
	var deployments []any
	for _, deployment := range in.deployments {
		deployments = append(deployments, map[string]any{
			"name":  deployment.GetName(),
			"label": deployment.GetLabels(),
			"spec":  deployment.Object["spec"],
		})
	}
	permissions, clusterPermissions := in.permissions()
	return map[string]any{
		"strategy": "deployment",
		"spec": map[string]any{
			"deployments":        deployments,
			"permissions":        permissions,
			"clusterPermissions": clusterPermissions,
		},
	}
}

// permission is what OLM makes a role and its binding from.
type permission struct {
	ServiceAccountName string              `json:"serviceAccountName"`
	Rules              []rbacv1.PolicyRule `json:"rules"`
}

// permissions splits the rules of each account. What can be given in a namespace goes
// into permissions: OLM gives it in the namespaces that the OperatorGroup selects, and in
// all of them only if it selects all. The rest is given cluster-wide whatever it selects.
func (in *input) permissions() (namespaced, cluster []permission) {
	for _, account := range in.accounts() {
		inNamespace := permission{ServiceAccountName: account}
		inCluster := permission{ServiceAccountName: account}
		for _, r := range in.roles {
			if !in.bound(account, r) {
				continue
			}
			for _, rule := range r.rules {
				local, wide := split(rule)
				inNamespace.Rules = append(inNamespace.Rules, local...)
				inCluster.Rules = append(inCluster.Rules, wide...)
			}
		}
		if len(inNamespace.Rules) > 0 {
			namespaced = append(namespaced, inNamespace)
		}
		if len(inCluster.Rules) > 0 {
			cluster = append(cluster, inCluster)
		}
	}
	return namespaced, cluster
}

func (in *input) accounts() []string {
	var accounts []string
	for _, b := range in.bindings {
		accounts = append(accounts, b.accounts...)
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

func (in *input) bound(account string, r role) bool {
	return slices.ContainsFunc(in.bindings, func(b binding) bool {
		return b.kind == r.object.GetKind() && b.role == r.object.GetName() && slices.Contains(b.accounts, account)
	})
}

// split divides a rule by whether its resources live in namespaces.
func split(rule rbacv1.PolicyRule) (local, wide []rbacv1.PolicyRule) {
	if len(rule.NonResourceURLs) > 0 {
		return nil, []rbacv1.PolicyRule{rule}
	}
	part := func(resources []string) []rbacv1.PolicyRule {
		if len(resources) == 0 {
			return nil
		}
		one := *rule.DeepCopy()
		one.Resources = resources
		return []rbacv1.PolicyRule{one}
	}
	var inNamespaces, inCluster []string
	for _, resource := range rule.Resources {
		if clusterScoped[resource] {
			inCluster = append(inCluster, resource)
		} else {
			inNamespaces = append(inNamespaces, resource)
		}
	}
	return part(inNamespaces), part(inCluster)
}

// ownsItsCRDs compares the CRDs that the base describes with those that there are.
func (in *input) ownsItsCRDs() error {
	owned, _, err := unstructured.NestedSlice(in.csv.Object, "spec", "customresourcedefinitions", "owned")
	if err != nil {
		return err
	}
	var described, present []string
	for _, entry := range owned {
		crd, ok := entry.(map[string]any)
		if !ok {
			return errors.New("an owned CRD that is not an object")
		}
		described = append(described, fmt.Sprintf("%v %v %v", crd["name"], crd["version"], crd["kind"]))
	}
	for _, crd := range in.crds {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		if err != nil {
			return err
		}
		for _, entry := range versions {
			version, ok := entry.(map[string]any)
			if !ok {
				return fmt.Errorf("%s: a version that is not an object", crd.GetName())
			}
			present = append(present, fmt.Sprintf("%s %v %s", crd.GetName(), version["name"], kind))
		}
	}
	slices.Sort(described)
	slices.Sort(present)
	if !slices.Equal(described, present) {
		return fmt.Errorf("the ClusterServiceVersion describes %q, and the CRDs are %q", described, present)
	}
	return nil
}

// image that the manager runs.
func (in *input) image() (string, error) {
	containers, _, err := unstructured.NestedSlice(in.deployments[0].Object, "spec", "template", "spec", "containers")
	if err != nil {
		return "", err
	}
	for _, entry := range containers {
		if container, ok := entry.(map[string]any); ok && container["name"] == "manager" {
			return fmt.Sprint(container["image"]), nil
		}
	}
	return "", fmt.Errorf("no container of Deployment %s is named manager", in.deployments[0].GetName())
}

func (in *input) almExamples() []map[string]any {
	examples := make([]map[string]any, 0, len(in.examples))
	for _, example := range in.examples {
		examples = append(examples, example.Object)
	}
	return examples
}
