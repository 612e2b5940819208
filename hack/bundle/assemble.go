package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
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

// input is what kustomize built, sorted by what becomes of it.
type input struct {
	csv         *unstructured.Unstructured
	scorecard   *unstructured.Unstructured
	monitored   bool // a ServiceMonitor is among plain
	crds        []unstructured.Unstructured
	deployments []unstructured.Unstructured
	webhooks    []unstructured.Unstructured
	roles       []role
	bindings    []binding
	plain       []unstructured.Unstructured // into the bundle as they are
	examples    []unstructured.Unstructured
}

// role is a Role or a ClusterRole.
type role struct {
	object unstructured.Unstructured
	rules  []rbacv1.PolicyRule
}

// binding is a RoleBinding or a ClusterRoleBinding.
type binding struct {
	object     unstructured.Unstructured
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
func assemble(objects []unstructured.Unstructured, r release) (map[string][]byte, error) {
	in, err := classify(objects)
	if err != nil {
		return nil, err
	}
	csv, err := in.clusterServiceVersion(r)
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
	slices.SortFunc(in.examples, byName)
	slices.SortFunc(roles, byName)
	in.keepPlainBindings()
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
	case "ValidatingWebhookConfiguration":
		in.webhooks = append(in.webhooks, object)
	case "RoleBinding", "ClusterRoleBinding":
		bound, err := readBinding(object)
		in.bindings = append(in.bindings, bound)
		return err
	case "ServiceMonitor":
		in.monitored = true
		in.plain = append(in.plain, object)
	case "Service", "PodDisruptionBudget", "PrometheusRule":
		in.plain = append(in.plain, object)
	case "ServiceAccount", "Namespace", "NetworkPolicy":
		// OLM makes the account; the namespace is where the Subscription is. The ports of
		// the Admin APIs that a network policy has to open are the site's to know, and
		// nobody can patch what is in a bundle.
	default:
		if object.GroupVersionKind().Group != apiGroup {
			return fmt.Errorf("%s %s: no place for it in the bundle", kind, object.GetName())
		}
		in.examples = append(in.examples, object)
	}
	return nil
}

// keepPlainBindings moves the bindings from which OLM is not to make roles to what goes into
// the bundle as it is: those of accounts that are not the operator's, and those of a Role.
// A Role is about the operator's own namespace. What OLM is told as permissions it gives in
// all namespaces that are watched, and a right on the Lease there would be one too many.
func (in *input) keepPlainBindings() {
	own := map[string]bool{}
	for _, deployment := range in.deployments {
		account, _, _ := unstructured.NestedString(deployment.Object, "spec", "template", "spec", "serviceAccountName")
		own[account] = true
	}
	in.bindings = slices.DeleteFunc(in.bindings, func(b binding) bool {
		operators := slices.ContainsFunc(b.accounts, func(account string) bool { return own[account] })
		if operators && b.kind == "ClusterRole" {
			return false
		}
		if operators {
			withoutSubjectNamespaces(b.object)
		}
		in.plain = append(in.plain, b.object)
		return true
	})
}

// withoutSubjectNamespaces leaves it to the namespace of a RoleBinding where its accounts are:
// nobody knows where OLM installs.
func withoutSubjectNamespaces(object unstructured.Unstructured) {
	subjects, _ := object.Object["subjects"].([]any)
	for _, entry := range subjects {
		if subject, ok := entry.(map[string]any); ok {
			delete(subject, "namespace")
		}
	}
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
	bound := binding{object: object, kind: typed.RoleRef.Kind, role: typed.RoleRef.Name}
	for _, subject := range typed.Subjects {
		if subject.Kind != rbacv1.ServiceAccountKind {
			return binding{}, fmt.Errorf("%s %s: binds a %s", object.GetKind(), object.GetName(), subject.Kind)
		}
		bound.accounts = append(bound.accounts, subject.Name)
	}
	return bound, nil
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
