package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// namespaceRecorder emits no events about objects in a namespace that is being deleted. The API server
// refuses them there, and each refusal would be an error in the log. The reconcilers log what they do.
type namespaceRecorder struct {
	events.EventRecorder
	// reader is the manager's cache.
	reader client.Reader
}

// Eventf implements events.EventRecorder.
func (r namespaceRecorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	if object, err := meta.Accessor(regarding); err == nil {
		namespace := &corev1.Namespace{}
		err := r.reader.Get(context.Background(), types.NamespacedName{Name: object.GetNamespace()}, namespace)
		if err == nil && !namespace.DeletionTimestamp.IsZero() {
			return
		}
	}
	r.EventRecorder.Eventf(regarding, related, eventType, reason, action, note, args...)
}
