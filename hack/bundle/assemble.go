package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	packageName = "kong-plugin-operator"
	channel     = "candidate"
	apiGroup    = "kong.pluginbinding.io"
)

// annotations tell OLM what is where in the bundle. They stand in
// metadata/annotations.yaml and again as labels of the image.
var annotations = [][2]string{
	{"operators.operatorframework.io.bundle.mediatype.v1", "registry+v1"},
	{"operators.operatorframework.io.bundle.manifests.v1", "manifests/"},
	{"operators.operatorframework.io.bundle.metadata.v1", "metadata/"},
	{"operators.operatorframework.io.bundle.package.v1", packageName},
	{"operators.operatorframework.io.bundle.channels.v1", channel},
	{"operators.operatorframework.io.bundle.channel.default.v1", channel},
	{"operators.operatorframework.io.test.mediatype.v1", "scorecard+v1"},
	{"operators.operatorframework.io.test.config.v1", "tests/scorecard/"},
}

// clusterScoped are the resources that a Role in a namespace cannot give.
var clusterScoped = map[string]bool{
	"namespaces":           true,
	"tokenreviews":         true,
	"subjectaccessreviews": true,
}

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// input is what kustomize built, sorted by what becomes of it.
type input struct {
	csv         *unstructured.Unstructured
	scorecard   *unstructured.Unstructured
	crds        []unstructured.Unstructured
	deployments []unstructured.Unstructured
	roles       []role
	bindings    []binding
	plain       []unstructured.Unstructured // into the bundle as they are
	samples     []unstructured.Unstructured
}

// role is a Role or a ClusterRole.
type role struct {
	object unstructured.Unstructured
	rules  []rbacv1.PolicyRule
}

// binding is a RoleBinding or a ClusterRoleBinding.
type binding struct {
	kind, role string
	accounts   []string
}

func parse(manifests io.Reader) ([]unstructured.Unstructured, error) {
	var objects []unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(manifests))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var object unstructured.Unstructured
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, fmt.Errorf("document %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// assemble returns the files of the bundle by their path.
func assemble(objects []unstructured.Unstructured, version string) (map[string][]byte, error) {
	in, err := classify(objects)
	if err != nil {
		return nil, err
	}
	csv, err := in.clusterServiceVersion(version)
	if err != nil {
		return nil, err
	}

	files := map[string][]byte{
		"bundle/metadata/annotations.yaml": annotationsFile(),
		"bundle.Dockerfile":                dockerfile(),
	}
	write := func(path string, object map[string]any) error {
		content, err := yaml.Marshal(object)
		files[path] = content
		return err
	}
	if err := write("bundle/manifests/"+packageName+".clusterserviceversion.yaml", csv); err != nil {
		return nil, err
	}
	if err := write("bundle/tests/scorecard/config.yaml", in.scorecard.Object); err != nil {
		return nil, err
	}
	for _, crd := range in.crds {
		unstructured.RemoveNestedField(crd.Object, "status")
		plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		if err := write("bundle/manifests/"+apiGroup+"_"+plural+".yaml", crd.Object); err != nil {
			return nil, err
		}
	}
	for _, object := range in.plain {
		// The namespace is the one that the operator is installed into.
		unstructured.RemoveNestedField(object.Object, "metadata", "namespace")
		if err := write("bundle/manifests/"+fileName(object), object.Object); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// classify decides about every object, so that none is lost without a word.
func classify(objects []unstructured.Unstructured) (*input, error) {
	in := &input{}
	var roles []unstructured.Unstructured
	for _, object := range objects {
		switch object.GetKind() {
		case "Role", "ClusterRole":
			roles = append(roles, object) // when all bindings are known
		default:
			if err := in.take(object); err != nil {
				return nil, err
			}
		}
	}
	if in.csv == nil || in.scorecard == nil || len(in.crds) == 0 || len(in.deployments) == 0 {
		return nil, errors.New("a ClusterServiceVersion, a scorecard Configuration, CRDs and a Deployment are needed")
	}
	slices.SortFunc(in.crds, byName)
	slices.SortFunc(in.samples, byName)
	slices.SortFunc(roles, byName)
	for _, object := range roles {
		if err := in.addRole(object); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// byName orders objects by what they are, not by the order in which they came.
func byName(a, b unstructured.Unstructured) int {
	return cmp.Or(
		cmp.Compare(a.GetKind(), b.GetKind()),
		cmp.Compare(a.GetNamespace(), b.GetNamespace()),
		cmp.Compare(a.GetName(), b.GetName()),
	)
}

// take puts one object where it belongs.
func (in *input) take(object unstructured.Unstructured) error {
	switch kind := object.GetKind(); kind {
	case "ClusterServiceVersion":
		in.csv = &object
	case "Configuration":
		in.scorecard = &object
	case "CustomResourceDefinition":
		in.crds = append(in.crds, object)
	case "Deployment":
		in.deployments = append(in.deployments, object)
	case "RoleBinding", "ClusterRoleBinding":
		bound, err := readBinding(object)
		in.bindings = append(in.bindings, bound)
		return err
	case "Service", "PodDisruptionBudget":
		in.plain = append(in.plain, object)
	case "ServiceAccount", "Namespace", "Secret", "NetworkPolicy":
		// OLM makes the account; the namespace is where the Subscription is; Secrets belong
		// to samples. The ports of the Admin APIs that a network policy has to open are
		// the site's to know, and nobody can patch what is in a bundle.
	default:
		if object.GroupVersionKind().Group != apiGroup {
			return fmt.Errorf("%s %s: no place for it in the bundle", kind, object.GetName())
		}
		in.samples = append(in.samples, object)
	}
	return nil
}

// addRole keeps the rules of a role that is bound to an account of the operator; OLM
// makes roles from them. Any other role is there for people and goes in as it is.
func (in *input) addRole(object unstructured.Unstructured) error {
	bound := slices.ContainsFunc(in.bindings, func(b binding) bool {
		return b.kind == object.GetKind() && b.role == object.GetName()
	})
	if !bound {
		in.plain = append(in.plain, object)
		return nil
	}
	var typed rbacv1.Role // a ClusterRole has its rules in the same place
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	in.roles = append(in.roles, role{object: object, rules: typed.Rules})
	return nil
}

func readBinding(object unstructured.Unstructured) (binding, error) {
	var typed rbacv1.RoleBinding
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		return binding{}, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	bound := binding{kind: typed.RoleRef.Kind, role: typed.RoleRef.Name}
	for _, subject := range typed.Subjects {
		if subject.Kind != rbacv1.ServiceAccountKind {
			return binding{}, fmt.Errorf("%s %s: binds a %s", object.GetKind(), object.GetName(), subject.Kind)
		}
		bound.accounts = append(bound.accounts, subject.Name)
	}
	return bound, nil
}

// clusterServiceVersion completes the base with what the other objects say.
func (in *input) clusterServiceVersion(version string) (map[string]any, error) {
	csv := in.csv.DeepCopy()
	csv.SetNamespace("")
	if version == "" {
		version, _, _ = unstructured.NestedString(csv.Object, "spec", "version")
	}
	if !semver.MatchString(version) {
		return nil, fmt.Errorf("version %q: must be like 1.2.3", version)
	}
	csv.SetName(packageName + ".v" + version)

	if err := in.ownsItsCRDs(); err != nil {
		return nil, err
	}
	examples, err := json.MarshalIndent(in.examples(), "", "  ")
	if err != nil {
		return nil, err
	}
	image, err := in.image()
	if err != nil {
		return nil, err
	}
	annotations := csv.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["alm-examples"] = string(examples)
	annotations["containerImage"] = image
	csv.SetAnnotations(annotations)

	var deployments []any
	for _, deployment := range in.deployments {
		deployments = append(deployments, map[string]any{
			"name":  deployment.GetName(),
			"label": deployment.GetLabels(),
			"spec":  deployment.Object["spec"],
		})
	}
	permissions, clusterPermissions := in.permissions()
	spec, ok := csv.Object["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("the ClusterServiceVersion has no spec")
	}
	spec["version"] = version
	spec["relatedImages"] = []any{map[string]any{"name": "manager", "image": image}}
	spec["install"] = map[string]any{
		"strategy": "deployment",
		"spec": map[string]any{
			"deployments":        deployments,
			"permissions":        permissions,
			"clusterPermissions": clusterPermissions,
		},
	}
	return csv.Object, nil
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

func (in *input) examples() []map[string]any {
	examples := make([]map[string]any, 0, len(in.samples))
	for _, sample := range in.samples {
		examples = append(examples, sample.Object)
	}
	return examples
}

// fileName as operator-sdk gives it: <name>_<group>_<version>_<kind>.yaml.
func fileName(object unstructured.Unstructured) string {
	parts := []string{object.GetName()}
	parts = append(parts, strings.Split(object.GetAPIVersion(), "/")...)
	return strings.Join(append(parts, strings.ToLower(object.GetKind())), "_") + ".yaml"
}

func annotationsFile() []byte {
	var file bytes.Buffer
	file.WriteString("annotations:\n")
	for _, annotation := range annotations {
		fmt.Fprintf(&file, "  %s: %s\n", annotation[0], annotation[1])
	}
	return file.Bytes()
}

func dockerfile() []byte {
	var file bytes.Buffer
	file.WriteString("# Made by `make bundle`: the bundle as an image, which OLM reads and nobody runs.\nFROM scratch\n\n")
	for _, annotation := range annotations {
		fmt.Fprintf(&file, "LABEL %s=%s\n", annotation[0], annotation[1])
	}
	file.WriteString("\nCOPY bundle/manifests /manifests/\nCOPY bundle/metadata /metadata/\nCOPY bundle/tests/scorecard /tests/scorecard/\n")
	return file.Bytes()
}
