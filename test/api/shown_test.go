package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestDefaults(t *testing.T) {
	cases := []struct {
		name, kind, with, want string
	}{
		{
			name: "the smallest binding is in force, adopts what is identical and cleans up after itself",
			kind: minimalBinding,
			want: `{gatewayRef: {name: kong}, plugin: rate-limiting, enabled: true,
				adoptionPolicy: IfIdentical, deletionPolicy: Delete, managementPolicy: Manage}`,
		},
		{
			name: "nothing is added inside a list, where tools would see a difference",
			kind: minimalBinding,
			with: patchAt("/redis/password"),
			want: `{gatewayRef: {name: kong}, plugin: rate-limiting, enabled: true,
				configPatches: [{path: /redis/password, valueFrom: {secretKeyRef: {name: redis, key: password}}}],
				adoptionPolicy: IfIdentical, deletionPolicy: Delete, managementPolicy: Manage}`,
		},
		{
			name: "the smallest policy makes bindings as they are by default, and keeps one for an hour",
			kind: minimalPolicy,
			want: `{gatewayRef: {name: kong}, targetRefs: [{group: networking.k8s.io, kind: Ingress, name: shop}], retention: 1h,
				template: {spec: {plugin: rate-limiting, enabled: true, adoptionPolicy: IfIdentical, deletionPolicy: Delete, managementPolicy: Manage}}}`,
		},
		{
			name: "a Service has no group",
			kind: minimalPolicy,
			with: `spec: {targetRefs: [{kind: Service, name: shop}]}`,
			want: `{gatewayRef: {name: kong}, targetRefs: [{kind: Service, name: shop}], retention: 1h,
				template: {spec: {plugin: rate-limiting, enabled: true, adoptionPolicy: IfIdentical, deletionPolicy: Delete, managementPolicy: Manage}}}`,
		},
		{
			name: "the smallest gateway is for its own namespace",
			kind: minimalGateway,
			want: `{adminURL: "http://kong-admin.kong:8001", allowedBindings: {namespaces: {from: Same}, code: Named, globalPlugins: Denied, entitySelectors: Denied, entities: All, adoption: Unowned},
				allowedGateways: {namespaces: {from: Same}}, resyncInterval: 1m,
				limits: {maxInFlight: 8, requestsPerSecond: 500, burst: 100, requestTimeout: 5s}}`,
		},
		{
			name: "so is one that says something else of its bindings",
			kind: minimalGateway,
			with: `spec: {allowedBindings: {globalPlugins: Allowed}, allowedGateways: {}, limits: {maxInFlight: 2}, resyncInterval: 10m}`,
			want: `{adminURL: "http://kong-admin.kong:8001", allowedBindings: {namespaces: {from: Same}, code: Named, globalPlugins: Allowed, entitySelectors: Denied, entities: All, adoption: Unowned},
				allowedGateways: {namespaces: {from: Same}}, resyncInterval: 10m,
				limits: {maxInFlight: 2, requestsPerSecond: 500, burst: 100, requestTimeout: 5s}}`,
		},
		{
			name: "the token's header and the key of the authorities are the usual ones",
			kind: minimalGateway,
			with: `spec: {auth: {tokenSecretRef: {name: kong, key: token}}, tls: {caSecretRef: {name: ca}}, allowedBindings: {namespaces: {}}}`,
			want: `{adminURL: "http://kong-admin.kong:8001", allowedBindings: {namespaces: {from: Same}, code: Named, globalPlugins: Denied, entitySelectors: Denied, entities: All, adoption: Unowned},
				allowedGateways: {namespaces: {from: Same}}, resyncInterval: 1m,
				auth: {tokenSecretRef: {name: kong, key: token}, header: Kong-Admin-Token}, tls: {caSecretRef: {name: ca, key: ca.crt}},
				limits: {maxInFlight: 8, requestsPerSecond: 500, burst: 100, requestTimeout: 5s}}`,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o := object(t, tc.kind, tc.with)
			if err := api.Create(t.Context(), o, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			want := object(t, "{}", "spec: "+tc.want).Object["spec"]
			if diff := cmp.Diff(normal(t, want), normal(t, o.Object["spec"])); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

// In Kong null is a value like any other, and the config is not ours to tidy.
func TestConfigIsKeptAsItIs(t *testing.T) {
	var config map[string]any
	if err := json.Unmarshal([]byte(`{"minute": null, "list": [1, null, {"a": null}], "UPPER": {"x": 0.5, "": ""}}`), &config); err != nil {
		t.Fatal(err)
	}
	o := object(t, minimalBinding)
	o.Object["spec"].(map[string]any)["config"] = config
	if err := api.Create(t.Context(), o, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	got := o.Object["spec"].(map[string]any)["config"]
	if diff := cmp.Diff(normal(t, config), normal(t, got)); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// normal makes numbers of one type.
func normal(t *testing.T, value any) (out any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A field with a typing error must not be dropped in silence.
func TestUnknownFieldsAreRefused(t *testing.T) {
	for kind, with := range map[string]string{
		minimalBinding: `spec: {adoptPolicy: Never}`,
		minimalPolicy:  `spec: {template: {spec: {gatewayRef: {name: kong}}}}`,
		minimalGateway: `spec: {tls: {insecure: true, serverName: kong}}`,
	} {
		err := api.Create(t.Context(), object(t, kind, with), client.DryRunAll)
		if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: want a refusal of an unknown field: %v", with, err)
		}
	}
}

func TestDiscovery(t *testing.T) {
	resources, err := discovery.NewDiscoveryClientForConfigOrDie(cfg).ServerResourcesForGroupVersion("kong.pluginbinding.io/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pluginbindings":        "PluginBinding, pluginbinding, namespaced true, short [pb], in [kong]",
		"pluginbindings/status": "PluginBinding, , namespaced true, short [], in []",
		"pluginpolicies":        "PluginPolicy, pluginpolicy, namespaced true, short [ppol], in [kong]",
		"pluginpolicies/status": "PluginPolicy, , namespaced true, short [], in []",
		"konggateways":          "KongGateway, konggateway, namespaced true, short [kgw], in [kong]",
		"konggateways/status":   "KongGateway, , namespaced true, short [], in []",
	}
	got := map[string]string{}
	for _, r := range resources.APIResources {
		got[r.Name] = fmt.Sprintf("%s, %s, namespaced %t, short %v, in %v", r.Kind, r.SingularName, r.Namespaced, r.ShortNames, r.Categories)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func TestColumns(t *testing.T) {
	cases := []struct {
		name, resource, kind, with string
		// columns in order; those with (wide) show only with -o wide.
		columns []string
		cells   []string
	}{
		{
			name: "a binding that is ready", resource: "pluginbindings", kind: minimalBinding,
			with: `status: {pluginID: "` + uuid + `", pluginIDSource: Adopted, scope: {summary: service/orders}, conditions: [
				{type: Programmed, status: "False", reason: Pending, message: waiting, lastTransitionTime: "2026-01-01T00:00:00Z"},
				{type: Ready, status: "True", reason: Ready, message: in force, lastTransitionTime: "2026-01-01T00:00:00Z"}]}`,
			columns: []string{"Name", "Plugin", "Scope", "Ready", "Reason", "Plugin-ID", "Age", "Gateway (wide)", "Source (wide)", "Message (wide)"},
			cells:   []string{"NAME", "rate-limiting", "service/orders", "True", "Ready", uuid, "AGE", "kong", "Adopted", "in force"},
		},
		{
			name: "a binding that nobody has looked at", resource: "pluginbindings", kind: minimalBinding,
			columns: []string{"Name", "Plugin", "Scope", "Ready", "Reason", "Plugin-ID", "Age", "Gateway (wide)", "Source (wide)", "Message (wide)"},
			cells:   []string{"NAME", "rate-limiting", "<nil>", "<nil>", "<nil>", "<nil>", "AGE", "kong", "<nil>", "<nil>"},
		},
		{
			name: "a policy", resource: "pluginpolicies", kind: minimalPolicy,
			with: `status: {targetSummary: Ingress/shop, bindings: {total: 3, ready: 2}, conditions: [
				{type: Ready, status: "False", reason: BindingsNotReady, message: one is not, lastTransitionTime: "2026-01-01T00:00:00Z"}]}`,
			columns: []string{"Name", "Plugin", "Targets", "Bindings", "Ready", "Reason", "Age", "Gateway (wide)", "Message (wide)"},
			cells:   []string{"NAME", "rate-limiting", "Ingress/shop", "3", "False", "BindingsNotReady", "AGE", "kong", "one is not"},
		},
		{
			name: "a gateway", resource: "konggateways", kind: minimalGateway,
			with: `status: {version: 3.9.1, bindings: {total: 7, ready: 6}, conditions: [
				{type: Ready, status: "False", reason: DBLess, message: give it a database, lastTransitionTime: "2026-01-01T00:00:00Z"}]}`,
			columns: []string{"Name", "Ready", "Reason", "Version", "Bindings", "In-Sync", "Age", "Admin-URL (wide)", "Message (wide)"},
			cells:   []string{"NAME", "False", "DBLess", "3.9.1", "7", "6", "AGE", "http://kong-admin.kong:8001", "give it a database"},
		},
	}
	rest := discovery.NewDiscoveryClientForConfigOrDie(cfg).RESTClient()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o := apply(t, object(t, tc.kind, tc.with))
			data, err := rest.Get().
				AbsPath("/apis/kong.pluginbinding.io/v1alpha1/namespaces/default", tc.resource, o.GetName()).
				SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
				DoRaw(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var table metav1.Table
			if err := json.Unmarshal(data, &table); err != nil {
				t.Fatal(err)
			}
			var columns, cells []string
			for _, column := range table.ColumnDefinitions {
				if column.Priority > 0 {
					column.Name += " (wide)"
				}
				columns = append(columns, column.Name)
			}
			for i, cell := range table.Rows[0].Cells {
				switch columns[i] {
				case "Name":
					cell = strings.Replace(cell.(string), o.GetName(), "NAME", 1)
				case "Age":
					cell = "AGE"
				}
				cells = append(cells, fmt.Sprint(cell))
			}
			if diff := cmp.Diff(tc.columns, columns); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.cells, cells); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
}

// What kubectl explain shows comes from the API server's own schema: it has the words there,
// not only in the files.
func TestExplain(t *testing.T) {
	data, err := discovery.NewDiscoveryClientForConfigOrDie(cfg).RESTClient().
		Get().AbsPath("/openapi/v3/apis/kong.pluginbinding.io/v1alpha1").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Description string
				Properties  map[string]struct{ Description string }
			}
		}
	}
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	for kind, crd := range crds(t) {
		published := document.Components.Schemas["io.pluginbinding.kong.v1alpha1."+kind]
		for _, f := range fields(t, crd) {
			got := published.Description
			if f.path != "" {
				got = published.Properties[f.path].Description
			}
			if slices.Contains([]string{"", "spec", "status"}, f.path) && got != f.schema.Description {
				t.Errorf("%s: %q is explained as %q", kind, f.path, got)
			}
		}
	}
}
