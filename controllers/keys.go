package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// keysFrom is a source that handles every key of a channel, until the controller stops.
func keysFrom(keys <-chan types.NamespacedName, handle func(context.Context, types.NamespacedName, requestQueue)) source.Source {
	return source.Func(func(ctx context.Context, queue requestQueue) error {
		go func() {
			for {
				select {
				case key := <-keys:
					handle(ctx, key, queue)
				case <-ctx.Done():
					return
				}
			}
		}()
		return nil
	})
}

// enqueue adds a request at normal priority.
func enqueue(_ context.Context, key types.NamespacedName, queue requestQueue) {
	queue.Add(reconcile.Request{NamespacedName: key})
}

// enqueueBehind adds requests behind what people have just changed. After a restored database
// these may be all bindings.
func enqueueBehind(queue requestQueue, requests ...reconcile.Request) {
	if prioritized, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritized.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(handler.LowPriority)}, requests...)
		return
	}
	for _, request := range requests {
		queue.Add(request)
	}
}
