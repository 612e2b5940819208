package api

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	otherUUID = "c0ffee00-0000-4000-8000-000000000001"

	recorded = `status: {pluginID: "` + uuid + `", pluginIDSource: Created, observedGeneration: 1}`

	onGateway = `status: {gateway: {name: kong, namespace: default}}`

	writtenOnce  = "status.pluginID is written once and never changes"
	neverRemoved = "status.pluginID is written once and never removed"
	importOnce   = "pluginID is immutable once set"
	importLate   = "this binding already has a plugin; spec.pluginID can only be set to its status.pluginID"
	samePlugin   = "plugin is immutable; create another PluginBinding for another plugin"
	sameGateway  = "gatewayRef is immutable, except that the namespace in status.gateway can be added; to use another KongGateway, delete this binding and create a new one"
)

// A transition is one change of a binding that exists.
type transition struct {
	name string
	// before is merged into the minimal binding, status included.
	before string
	// change is what is done to it.
	change change
	// field and message of the refusal; none means that it is accepted.
	field, message string
}

// A change is a request for an object that exists.
type change func(t *testing.T, o *unstructured.Unstructured) error

// update sends the whole object, as kubectl replace does, with a patch merged into it.
func update(patch string) change {
	return func(t *testing.T, o *unstructured.Unstructured) error {
		return api.Update(t.Context(), merge(t, o, patch))
	}
}

// updateStatus is the same through the status subresource.
func updateStatus(patch string) change {
	return func(t *testing.T, o *unstructured.Unstructured) error {
		return api.Status().Update(t.Context(), merge(t, o, patch))
	}
}

// patchStatus sends a patch as it is, so that a null in it reaches the API server.
func patchStatus(kind types.PatchType, patch string) change {
	return func(t *testing.T, o *unstructured.Unstructured) error {
		return api.Status().Patch(t.Context(), o.DeepCopy(), client.RawPatch(kind, toJSON(t, patch)))
	}
}

// putStatus sends the whole object with exactly this status; nil for none.
func putStatus(status any) change {
	return func(t *testing.T, o *unstructured.Unstructured) error {
		o = o.DeepCopy()
		delete(o.Object, "status")
		if status != nil {
			o.Object["status"] = status
		}
		return api.Status().Update(t.Context(), o)
	}
}

func merge(t *testing.T, o *unstructured.Unstructured, patch string) *unstructured.Unstructured {
	t.Helper()
	whole, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(whole), patch)
}

var transitions = []transition{
	// spec.plugin and spec.gatewayRef
	{name: "another plugin", change: update(`spec: {plugin: acl}`), field: "spec.plugin", message: samePlugin},
	{name: "another gateway", change: update(`spec: {gatewayRef: {name: other}}`), field: "spec.gatewayRef", message: sameGateway},
	{name: "a gateway elsewhere", change: update(`spec: {gatewayRef: {namespace: platform}}`), field: "spec.gatewayRef", message: sameGateway},
	{name: "its own namespace, before a gateway is recorded", change: update(`spec: {gatewayRef: {namespace: default}}`), field: "spec.gatewayRef", message: sameGateway},
	{name: "its own namespace, spelled out", before: onGateway, change: update(`spec: {gatewayRef: {namespace: default}}`)},
	{name: "a gateway elsewhere, spelled out", before: onGateway, change: update(`spec: {gatewayRef: {namespace: platform}}`), field: "spec.gatewayRef", message: sameGateway},
	{
		name: "its own namespace, spelled out, and another gateway", before: onGateway,
		change: update(`spec: {gatewayRef: {name: other, namespace: default}}`), field: "spec.gatewayRef", message: sameGateway,
	},
	{
		name: "another namespace", before: `spec: {gatewayRef: {namespace: platform}}`,
		change: update(`spec: {gatewayRef: {namespace: default}}`), field: "spec.gatewayRef", message: sameGateway,
	},
	{
		name:   "no namespace any more, which can be another gateway",
		before: `{spec: {gatewayRef: {namespace: platform}}, status: {gateway: {name: kong, namespace: platform}}}`,
		change: update(`spec: {gatewayRef: {namespace: null}}`), field: "spec.gatewayRef", message: sameGateway,
	},
	{name: "the same gateway", change: update(`spec: {gatewayRef: {name: kong}, enabled: false}`)},

	// spec.pluginID
	{
		name: "another plugin ID", before: `spec: {pluginID: "` + uuid + `"}`,
		change: update(`spec: {pluginID: "` + otherUUID + `"}`), field: "spec", message: importOnce,
	},
	{
		name: "no plugin ID any more", before: `spec: {pluginID: "` + uuid + `"}`,
		change: update(`spec: {pluginID: null}`), field: "spec", message: importOnce,
	},
	{name: "a plugin ID before one is recorded", change: update(`spec: {pluginID: "` + uuid + `"}`)},
	{name: "the plugin ID that is recorded", before: recorded, change: update(`spec: {pluginID: "` + uuid + `"}`)},
	{
		name: "a plugin ID other than the recorded one", before: recorded,
		change: update(`spec: {pluginID: "` + otherUUID + `"}`), field: "<nil>", message: importLate,
	},
	{
		name:   "editing a binding that imported one ID and recovered another",
		before: `{spec: {pluginID: "` + otherUUID + `"}, ` + recorded + `}`,
		change: update(`spec: {enabled: false}`),
	},

	// status.pluginID: recorded, and from then on the same
	{name: "recording", change: updateStatus(recorded)},
	{name: "recording what is no ID", change: updateStatus(`status: {pluginID: rate-limiting}`), field: "status.pluginID", message: badUUID},
	{name: "recording an ID in capitals", change: updateStatus(`status: {pluginID: C0FFEE00-0000-4000-8000-000000000001}`), field: "status.pluginID", message: badUUID},
	{name: "recording an empty ID", change: updateStatus(`status: {pluginID: ""}`), field: "status.pluginID", message: badUUID},
	{name: "recording the same ID again", before: recorded, change: updateStatus(recorded)},
	{
		name: "changing the ID", before: recorded,
		change: updateStatus(`status: {pluginID: "` + otherUUID + `"}`), field: "status.pluginID", message: writtenOnce,
	},
	{
		name: "changing the ID by a merge patch", before: recorded,
		change: patchStatus(types.MergePatchType, `status: {pluginID: "`+otherUUID+`"}`),
		field:  "status.pluginID", message: writtenOnce,
	},
	{
		name: "changing the ID by a JSON patch", before: recorded,
		change: patchStatus(types.JSONPatchType, `[{op: replace, path: /status/pluginID, value: "`+otherUUID+`"}]`),
		field:  "status.pluginID", message: writtenOnce,
	},
	{
		name: "an update without the ID", before: recorded,
		change: putStatus(map[string]any{"observedGeneration": int64(2)}), field: "<nil>", message: neverRemoved,
	},
	{
		name: "an update with the ID null", before: recorded,
		change: putStatus(map[string]any{"pluginID": nil}), field: "<nil>", message: neverRemoved,
	},
	{name: "an update with an empty status", before: recorded, change: putStatus(map[string]any{}), field: "<nil>", message: neverRemoved},
	{name: "an update without status", before: recorded, change: putStatus(nil), field: "<nil>", message: neverRemoved},
	{
		name: "nulling the ID by a merge patch", before: recorded,
		change: patchStatus(types.MergePatchType, `status: {pluginID: null}`), field: "<nil>", message: neverRemoved,
	},
	{
		name: "nulling the status by a merge patch", before: recorded,
		change: patchStatus(types.MergePatchType, `status: null`), field: "<nil>", message: neverRemoved,
	},
	{
		name: "removing the ID by a JSON patch", before: recorded,
		change: patchStatus(types.JSONPatchType, `[{op: remove, path: /status/pluginID}]`), field: "<nil>", message: neverRemoved,
	},
	{
		name: "removing the status by a JSON patch", before: recorded,
		change: patchStatus(types.JSONPatchType, `[{op: remove, path: /status}]`), field: "<nil>", message: neverRemoved,
	},
	{
		name: "replacing the status by a JSON patch", before: recorded,
		change: patchStatus(types.JSONPatchType, `[{op: replace, path: /status, value: {}}]`), field: "<nil>", message: neverRemoved,
	},

	// Everything else goes on as ever when an ID is recorded.
	{name: "editing the spec", before: recorded, change: update(`spec: {enabled: false, config: {minute: 5}, tags: [a]}`)},
	{name: "moving the scope", before: `{spec: {scope: {service: {name: a}}}, ` + recorded + `}`, change: update(`spec: {scope: {service: null, route: {name: b}}}`)},
	{name: "to global", before: `{spec: {scope: {service: {name: a}}}, ` + recorded + `}`, change: update(`spec: {scope: null}`)},
	{name: "renaming the instance", before: recorded, change: update(`spec: {instanceName: a}`)},
	{name: "pausing", before: recorded, change: update(`metadata: {annotations: {kong.pluginbinding.io/paused: "true"}}`)},
	{name: "conditions", before: recorded, change: updateStatus(`status: {observedGeneration: 2, conditions: [
		{type: Ready, status: "True", reason: Ready, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}]}`)},
	{name: "an update of the spec with another status, which is not looked at", before: recorded, change: update(`status: null`)},
	{name: "the finalizer", before: recorded, change: update(`metadata: {finalizers: [kong.pluginbinding.io/plugin]}`)},
}

func TestTransitions(t *testing.T) {
	for _, tc := range transitions {
		t.Run(tc.name, func(t *testing.T) {
			o := apply(t, object(t, minimalBinding, tc.before))
			expect(t, tc.change(t, o), tc.field, tc.message)
		})
	}
}

// A status can also be lost by the one who applied it no longer naming the ID.
func TestServerSideApplyKeepsTheID(t *testing.T) {
	o := apply(t, object(t, minimalBinding))
	applied := func(status map[string]any) error {
		next := object(t, minimalBinding)
		next.SetGenerateName("")
		next.SetName(o.GetName())
		next.Object["status"] = status
		return api.Status().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(next), client.FieldOwner("operator"), client.ForceOwnership)
	}
	expect(t, applied(map[string]any{"pluginID": uuid}), "", "")
	expect(t, applied(map[string]any{"observedGeneration": int64(1)}), "<nil>", neverRemoved)
	expect(t, applied(map[string]any{"pluginID": otherUUID}), "status.pluginID", writtenOnce)
	expect(t, applied(map[string]any{"pluginID": uuid, "observedGeneration": int64(1)}), "", "")
}

// The guard must never be what keeps a binding from going.
func TestDeletionPassesWithAnID(t *testing.T) {
	o := apply(t, object(t, minimalBinding, recorded, `metadata: {finalizers: [kong.pluginbinding.io/plugin]}`))
	if err := api.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatalf("the finalizer should hold it: %v", err)
	}
	expect(t, updateStatus(`status: {observedGeneration: 2}`)(t, o), "", "")
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	o.SetFinalizers(nil)
	if err := api.Update(t.Context(), o); err != nil {
		t.Fatalf("taking the finalizer off: %v", err)
	}
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it should be gone: %v", err)
	}
}
