package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// kubeCall is one call of the API server.
type kubeCall struct {
	*simulation
	proc    *process
	name    string
	id      objectID
	write   bool
	records bool // an ID
	forward func() error
	// written is the object as the API server returned it after the write.
	written client.Object
	// late sends the write some time later. It does not touch the caller's object.
	late func() error
}

func (c *kubeCall) do(what string) error {
	if c.proc.dead {
		return forbidden(c.id)
	}
	hit := c.beginCall(c.name, what+" "+c.id.kind+" "+c.id.Name, c.write)
	forward := c.forward
	c.forward = func() error {
		err := forward()
		if c.write && err == nil {
			c.kubeWrites++
			c.store(c.written)
		}
		return err
	}
	var err error
	if hit == nil {
		err = c.forward()
	} else {
		hit.recordsID = c.records
		err = hit.fault.kube(c)
	}
	if err != nil {
		c.tracef("      %v", err)
	}
	return err
}

// liveReader reads from the API server.
type liveReader struct{ proc *process }

func (l liveReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	id := objectID{kindOf(object), key}
	name := map[string]string{kindSecret: kubeGetSecret, kindBinding: kubeGetBinding, kindGateway: kubeGetGateway}[id.kind]
	c := &kubeCall{simulation: l.proc.sim, proc: l.proc, name: name, id: id, forward: func() error {
		return apiServer.Get(ctx, key, object, options...)
	}}
	return c.do("live GET")
}

// List lists bindings. The operator lists nothing else from the API server here.
func (l liveReader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	c := &kubeCall{simulation: l.proc.sim, proc: l.proc, name: kubeListBindings, id: objectID{kind: kindBinding}, forward: func() error {
		return apiServer.List(ctx, list, options...)
	}}
	return c.do("live LIST")
}

// cachedClient reads from the cache and writes to the API server. The operator does not use the
// methods that it lacks.
type cachedClient struct {
	client.Client // nil
	proc          *process
}

func (c cachedClient) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	return c.proc.sim.cache.get(key, object)
}

func (c cachedClient) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(options)
	return c.proc.sim.cache.list(list, o)
}

func (c cachedClient) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	call := c.write(object, patch, finalizerCall(object), func(object client.Object, patch client.Patch) error {
		return apiServer.Patch(ctx, object, patch, options...)
	})
	return call.do("PATCH")
}

func finalizerCall(object client.Object) string {
	if kindOf(object) == kindGateway {
		if controllerutil.ContainsFinalizer(object, v1alpha1.GatewayFinalizer) {
			return kubeAddGatewayFinalizer
		}
		return kubeRemoveGatewayFinalizer
	}
	if controllerutil.ContainsFinalizer(object, v1alpha1.PluginFinalizer) {
		return kubeAddBindingFinalizer
	}
	return kubeRemoveBindingFinalizer
}

func (c cachedClient) Status() client.SubResourceWriter { return statusWriter{proc: c.proc} }

// statusWriter writes status.
type statusWriter struct {
	client.SubResourceWriter // nil
	proc                     *process
}

func (s statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	name := kubePatchBindingStatus
	if kindOf(object) == kindGateway {
		name = kubePatchGatewayStatus
	}
	s.proc.sim.recordStatus(object)
	call := cachedClient{proc: s.proc}.write(object, patch, name, func(object client.Object, patch client.Patch) error {
		err := apiServer.Status().Patch(ctx, object, patch, options...)
		if binding, ok := object.(*v1alpha1.PluginBinding); ok && err == nil {
			s.proc.sim.checkReady(binding)
		}
		return err
	})
	return call.do("PATCH status of")
}

// recordStatus records what a status says.
func (sim *simulation) recordStatus(object client.Object) {
	var conditions []string
	switch object := object.(type) {
	case *v1alpha1.PluginBinding:
		ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil {
			for _, f := range sim.faults {
				if f.fired {
					f.readyReasons[ready.Reason] = true
				}
			}
			conditions = append(conditions, ready.Reason, ready.Message)
		}
		sim.recordOutput(fmt.Sprintf("%+v", object.Status))
	case *v1alpha1.KongGateway:
		sim.recordOutput(fmt.Sprintf("%+v", object.Status))
	}
	if len(conditions) > 0 {
		sim.tracef("      status: %s", sim.abbreviate(strings.Join(conditions, ": ")))
	}
}

func (c cachedClient) write(object client.Object, patch client.Patch, name string, send func(client.Object, client.Patch) error) *kubeCall {
	sim := c.proc.sim
	data, err := patch.Data(object)
	sim.must(err)
	var written struct {
		Status struct {
			PluginID string `json:"pluginID"`
		} `json:"status"`
	}
	sim.must(json.Unmarshal(data, &written))
	raw, later := client.RawPatch(patch.Type(), data), object.DeepCopyObject().(client.Object)
	return &kubeCall{
		simulation: sim, proc: c.proc, name: name, id: idOf(object), write: true, written: object,
		records: written.Status.PluginID != "",
		forward: func() error { return send(object, patch) },
		late:    func() error { return send(later, raw) },
	}
}

// recorder records events.
type recorder struct{ proc *process }

func (r recorder) Eventf(regarding, _ runtime.Object, _, reason, action, note string, args ...any) {
	if r.proc.dead {
		return
	}
	sim := r.proc.sim
	text := fmt.Sprintf(note, args...)
	hit := sim.beginCall(kubeCreateEvent, "event "+reason+": "+sim.abbreviate(text), true)
	if object, ok := regarding.(client.Object); !ok || object.GetName() == "" || len(reason) > 128 || len(action) > 128 || len(text) > 1024 {
		sim.violation("the API server would refuse this event: %q %q %q", reason, action, text)
	}
	if hit != nil {
		_ = hit.fault.kube(&kubeCall{simulation: sim, proc: r.proc, name: kubeCreateEvent, forward: func() error { return nil }})
		if r.proc.dead {
			return
		}
	}
	sim.recordOutput(reason + " " + text)
}
