package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

const release = "kong-plugin-operator"

// kustomized are the values with which the chart is the kustomize tree.
func kustomized(more map[string]any) map[string]any {
	values := map[string]any{"image": map[string]any{"repository": "controller", "tag": "latest"}}
	maps.Copy(values, more)
	return values
}

// The chart and the kustomize tree are the same objects, field by field. The namespace is
// Helm's to make.
func TestTheChartIsTheKustomizeTree(t *testing.T) {
	enabled := map[string]any{"enabled": true}
	for name, test := range map[string]struct {
		kustomization string
		values        map[string]any
	}{
		"config/default": {"resources: [../../config/default]", nil},
		"with config/prometheus": {
			"resources: [../../config/default, ../../config/prometheus]",
			map[string]any{"metrics": map[string]any{"serviceMonitor": enabled, "prometheusRule": enabled}},
		},
		"with config/grafana": {
			"resources: [../../config/default, ../../config/grafana]",
			map[string]any{"metrics": map[string]any{"dashboard": enabled}},
		},
		"with config/gateway-admins": {
			"resources: [../../config/default]\ncomponents: [../../config/gateway-admins]",
			map[string]any{"rbac": map[string]any{"aggregateGatewayEditorToAdmin": true}},
		},
		"with config/webhook": {
			"resources: [../../config/default]\ncomponents: [../../config/webhook]",
			map[string]any{"webhooks": enabled},
		},
		"with config/finalizer-at-creation": {
			"resources: [../../config/default, ../../config/finalizer-at-creation]",
			map[string]any{"finalizerAtCreation": true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := kustomize(t, test.kustomization), render(t, release, kustomized(test.values))
			delete(want, "Namespace "+namespace)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Fatalf("the objects (-kustomize +chart):\n%s", diff)
			}
			for name := range want {
				if diff := cmp.Diff(plain(want[name]), plain(got[name])); diff != "" {
					t.Errorf("%s (-kustomize +chart); run make chart-files, or change the template:\n%s", name, diff)
				}
			}
		})
	}
}

// plain is an object as both have it. An empty map of labels is none.
func plain(o object) any {
	return withoutHelm(map[string]any(o))
}

func TestLint(t *testing.T) {
	for _, values := range []map[string]any{{}, everything()} {
		for _, message := range lint.All(chartPath, values, namespace, true).Messages {
			if message.Severity > support.InfoSev {
				t.Error(message)
			}
		}
	}
}

// everything sets what a default leaves out.
func everything() map[string]any {
	return map[string]any{
		"image":                   map[string]any{"repository": "example.com/operator", "digest": "sha256:" + strings.Repeat("a", 64), "pullPolicy": "Always"},
		"imagePullSecrets":        []any{map[string]any{"name": "registry"}},
		"clusterID":               "production-eu",
		"watchNamespaces":         []any{"shop", "kong", "shop"},
		"selector":                "shard in (1,2)",
		"logLevel":                "debug",
		"extraArgs":               []any{"--zap-encoder=console"},
		"extraEnv":                []any{map[string]any{"name": "SSL_CERT_DIR", "value": "/certs"}},
		"extraEnvFrom":            []any{map[string]any{"configMapRef": map[string]any{"name": "more"}}},
		"priorityClassName":       "system-cluster-critical",
		"podLabels":               map[string]any{"team": "platform"},
		"tolerations":             []any{map[string]any{"operator": "Exists"}},
		"maxConcurrentReconciles": 16,
		"webhooks":                map[string]any{"enabled": true, "annotations": map[string]any{"team": "platform"}},
		"finalizerAtCreation":     true,
		"metrics": map[string]any{
			"serviceMonitor": map[string]any{"enabled": true, "interval": "30s", "labels": map[string]any{"release": "prometheus"}},
			"prometheusRule": map[string]any{"enabled": true},
			"dashboard":      map[string]any{"enabled": true},
		},
	}
}

func manager(t *testing.T, of objects) map[string]any {
	t.Helper()
	deployments := of.ofKind("Deployment")
	if len(deployments) != 1 {
		t.Fatalf("Deployments %q", deployments)
	}
	containers, ok := of[deployments[0]].at("spec", "template", "spec", "containers").([]any)
	if !ok || len(containers) != 1 {
		t.Fatalf("containers %v", containers)
	}
	return containers[0].(map[string]any)
}

func TestTheManagerIsToldWhatTheValuesSay(t *testing.T) {
	container := manager(t, render(t, release, everything()))
	if want := "example.com/operator@sha256:" + strings.Repeat("a", 64); container["image"] != want {
		t.Errorf("image %v, want %s", container["image"], want)
	}
	want := []any{
		"--leader-elect", "--health-probe-bind-address=:8081", "--metrics-bind-address=:8443", "--cluster-id=production-eu",
		"--watch-namespaces=kong,shop", "--selector=shard in (1,2)", "--max-concurrent-reconciles=16", "--zap-log-level=debug",
		"--enable-webhooks", "--webhook-name=kong-plugin-operator-webhook", "--zap-encoder=console",
	}
	if diff := cmp.Diff(want, container["args"]); diff != "" {
		t.Error(diff)
	}
	env := []any{map[string]any{"name": "GOMEMLIMIT", "value": "460MiB"}, map[string]any{"name": "SSL_CERT_DIR", "value": "/certs"}}
	if diff := cmp.Diff(env, container["env"]); diff != "" {
		t.Error(diff)
	}

	options, err := os.ReadFile(filepath.Join(root, "cmd", "manager", "options.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, argument := range want {
		flag, _, _ := strings.Cut(strings.TrimPrefix(argument.(string), "--"), "=")
		if !strings.HasPrefix(flag, "zap-") && !bytes.Contains(options, []byte(`"`+flag+`"`)) {
			t.Errorf("the manager has no flag --%s", flag)
		}
	}
	if image := manager(t, render(t, release, nil))["image"]; image != "ghcr.io/pluginbinding/kong-plugin-operator:v0.1.0" {
		t.Errorf("image %v by default", image)
	}
}

// In a namespaced install the operator reads no Secret of another namespace. All that it
// may in the whole cluster is to read namespaces' labels and to ask who scrapes it.
func TestANamespacedInstallHasRolesOnly(t *testing.T) {
	wide := render(t, release, nil)
	narrow := render(t, release, map[string]any{"watchNamespaces": []any{"kong", "shop"}})

	const role = "kong-plugin-operator-manager-role"
	if got := rights(narrow["ClusterRole "+role]); !slices.Equal(got, []string{"get /namespaces", "list /namespaces", "watch /namespaces"}) {
		t.Errorf("rights in the whole cluster: %q", got)
	}
	for _, in := range []string{"kong", "shop"} {
		want := slices.DeleteFunc(rights(wide["ClusterRole "+role]), func(right string) bool { return strings.HasSuffix(right, "/namespaces") })
		if len(want) < 10 {
			t.Fatalf("the manager's role gives %q", want)
		}
		if diff := cmp.Diff(want, rights(narrow["Role "+in+"/"+role])); diff != "" {
			t.Errorf("rights in %s:\n%s", in, diff)
		}
		bound := narrow["RoleBinding "+in+"/"+role+"binding"]
		if bound.at("roleRef", "kind") != "Role" || bound.at("roleRef", "name") != role {
			t.Errorf("%s: %v", in, bound.at("roleRef"))
		}
		subjects, _ := bound.at("subjects").([]any)
		if len(subjects) != 1 || subjects[0].(map[string]any)["namespace"] != namespace {
			t.Errorf("%s: subjects %v", in, subjects)
		}
	}
	for _, name := range narrow.ofKind("ClusterRole") {
		for _, right := range rights(narrow[name]) {
			if strings.HasSuffix(right, "/secrets") || strings.HasSuffix(right, "/leases") {
				t.Errorf("%s gives %q", name, right)
			}
		}
	}
}

// rights spells a role out: a verb, a group and a resource each.
func rights(role object) []string {
	var all []string
	rules, _ := role["rules"].([]any)
	for _, rule := range rules {
		fields := rule.(map[string]any)
		for _, verb := range list(fields["verbs"]) {
			for _, group := range list(fields["apiGroups"]) {
				for _, resource := range list(fields["resources"]) {
					all = append(all, fmt.Sprintf("%v %v/%v", verb, group, resource))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func list(value any) []any {
	items, _ := value.([]any)
	return items
}

func TestCRDsStayAndCanBeLeftOut(t *testing.T) {
	const policy = "helm.sh/resource-policy"
	for _, test := range []struct {
		crds map[string]any
		want int
		keep any
	}{
		{nil, 2, "keep"},
		{map[string]any{"keep": false}, 2, nil},
		{map[string]any{"install": false}, 0, nil},
	} {
		values := map[string]any{}
		if test.crds != nil { // a null would take the defaults away
			values["crds"] = test.crds
		}
		rendered := render(t, release, values)
		crds := rendered.ofKind("CustomResourceDefinition")
		if (len(crds) == 0) != (test.want == 0) {
			t.Errorf("%v: CRDs %q", test.crds, crds)
		}
		for _, name := range crds {
			if got := rendered[name].at("metadata", "annotations", policy); got != test.keep {
				t.Errorf("%v: %s: %s is %v, want %v", test.crds, name, policy, got, test.keep)
			}
		}
	}
}

// What is off leaves no object behind that refers to it.
func TestWhatIsOffIsNotThere(t *testing.T) {
	off := map[string]any{"enabled": false}
	rendered := render(t, release, map[string]any{
		"metrics": off, "networkPolicy": off, "podDisruptionBudget": off,
		"rbac":           map[string]any{"create": false},
		"serviceAccount": map[string]any{"create": false, "name": "mine"},
		"crds":           map[string]any{"install": false},
	})
	if got := slices.Sorted(maps.Keys(rendered)); !slices.Equal(got, []string{"Deployment kong-plugin-operator-system/kong-plugin-operator-controller-manager"}) {
		t.Errorf("still there: %q", got)
	}
	if args := fmt.Sprint(manager(t, rendered)["args"]); strings.Contains(args, "metrics") {
		t.Errorf("arguments %s", args)
	}
}

// Two releases share nothing but the CRDs: no object, and no label by which a Service, a
// budget or a policy of one would choose the other's pods.
func TestTwoReleasesAreApart(t *testing.T) {
	long := strings.Repeat("very-", 9) + "long"
	one, other := render(t, "shard-1", everything()), render(t, long, everything())
	for name := range one {
		if _, shared := other[name]; shared && !strings.HasPrefix(name, "CustomResourceDefinition ") {
			t.Errorf("both have %s", name)
		}
	}
	// Of those in the release, a Service and what its pods are called after are DNS labels.
	label := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for _, name := range slices.Concat(other.ofKind("Service"), other.ofKind("Deployment")) {
		if short := fmt.Sprint(other[name].at("metadata", "name")); !label.MatchString(short) {
			t.Errorf("%s is no name", short)
		}
	}
	selector := one["Deployment kong-plugin-operator-system/shard-1-kong-plugin-operator-controller-manager"].at("spec", "selector", "matchLabels", "app.kubernetes.io/instance")
	if selector != "shard-1" {
		t.Errorf("the Deployment selects instance %v", selector)
	}
	rule := fmt.Sprint(one["PrometheusRule kong-plugin-operator-system/shard-1-kong-plugin-operator-controller-manager-alerts"])
	service := one.ofKind("Service")[0]
	if job := `job="` + service[strings.LastIndex(service, "/")+1:] + `"`; strings.Count(rule, job) != 2 || strings.Contains(rule, `job="kong-plugin`) {
		t.Errorf("the alerts do not watch the job %s", job)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"a value that there is not":  {"replica": 3},
		"a number as text":           {"replicas": "two"},
		"a digest without algorithm": {"image": map[string]any{"repository": "x", "digest": strings.Repeat("a", 64)}},
		"a cluster id with a dot":    {"clusterID": "a.b"},
		"a namespace that is none":   {"watchNamespaces": []any{"Kong"}},
		"an argument without dashes": {"extraArgs": []any{"zap-encoder=console"}},
		"an account without a name":  {"serviceAccount": map[string]any{"create": false}},
		"a port that is none":        {"networkPolicy": map[string]any{"adminPorts": []any{0}}},
	} {
		if _, err := tryRender(release, values); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// The chart in the tree is of the version that the Makefile builds.
func TestVersionIsTheMakefiles(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.LoadDir(chartPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{loaded.Metadata.Version, loaded.Metadata.AppVersion} {
		if !bytes.Contains(makefile, []byte("\nVERSION ?= "+version+"\n")) {
			t.Errorf("the chart is of version %s, and the Makefile of another", version)
		}
	}
}

// The package is the chart at the version asked for, the same bytes every time.
func TestPack(t *testing.T) {
	var contents [][]byte
	for range 2 {
		name, err := pack(chartPath, "1.2.3", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := loader.LoadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Metadata.Version != "1.2.3" || loaded.Metadata.AppVersion != "1.2.3" || filepath.Base(name) != "kong-plugin-operator-1.2.3.tgz" {
			t.Errorf("%s is version %s of %s", name, loaded.Metadata.Version, loaded.Metadata.AppVersion)
		}
		source, err := loader.LoadDir(chartPath)
		if err != nil {
			t.Fatal(err)
		}
		if len(loaded.Raw) != len(source.Raw) || len(loaded.Templates) != len(source.Templates) || loaded.Schema == nil {
			t.Errorf("%d of %d files are in the package", len(loaded.Raw), len(source.Raw))
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	if !bytes.Equal(contents[0], contents[1]) {
		t.Error("two packages of the same chart differ")
	}
	if _, err := pack(chartPath, "latest", t.TempDir()); err == nil {
		t.Error(`a package of version "latest" is made`)
	}
}

// With a certificate of something else, the operator gets no right to a Secret or a configuration.
func TestAnotherCertificateNeedsNoRights(t *testing.T) {
	without := render(t, release, nil)
	with := render(t, release, map[string]any{"webhooks": map[string]any{"enabled": true, "certificateSecret": "tls"}})
	for _, kind := range []string{"Role", "ClusterRole"} {
		for _, name := range with.ofKind(kind) {
			if diff := cmp.Diff(rights(without[name]), rights(with[name])); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
	}
	if secrets := with.ofKind("Secret"); len(secrets) > 0 {
		t.Errorf("Secrets %q", secrets)
	}
	args, _ := manager(t, with)["args"].([]any)
	if !slices.Contains(args, any("--enable-webhooks")) || strings.Contains(fmt.Sprint(args...), "--webhook-name") {
		t.Errorf("arguments %v", args)
	}
}
