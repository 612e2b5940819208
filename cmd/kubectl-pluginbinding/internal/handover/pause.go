package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// resumeTimeout bounds the start of the ingress controller after an interruption.
const resumeTimeout = 15 * time.Second

// moveWhilePaused moves items while the ingress controller is stopped. It starts it again whatever happens:
// without it, Kong gets no new endpoints.
func (r *Run) moveWhilePaused(ctx context.Context, m *mover, deployment string, items []*Item) error {
	moved := m.pauseController(ctx, deployment)
	if moved == nil {
		moved = r.each(ctx, items, func(ctx context.Context, i *Item) error {
			return m.orPutBack(ctx, i, m.take(ctx, i, m.beforeSync(i)))
		})
	}
	if errors.Is(moved, errLost) {
		return moved // the other run starts it
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTimeout)
	defer cancel()
	if resumed := m.resumeController(bounded); moved != nil || resumed != nil {
		return errors.Join(moved, resumed)
	}
	return r.each(ctx, items, func(ctx context.Context, i *Item) error {
		return r.finish(ctx, m, i, m.orPutBack(ctx, i, m.take(ctx, i, m.afterSync(i))))
	})
}

// pauseController scales the ingress controller to 0 and waits until it has ended.
func (m *mover) pauseController(ctx context.Context, deployment string) error {
	controller, err := m.controller(ctx, deployment)
	if err != nil {
		return err
	}
	if m.journal.content.Paused == "" {
		if err := m.journal.change(ctx, func(c *content) { c.Paused, c.Replicas = deployment, replicasOf(controller) }); err != nil {
			return err
		}
	}
	if err := m.scale(ctx, controller, 0); err != nil {
		return err
	}
	m.say("Deployment %s is stopped. Until it runs again, Kong gets no new endpoints.", deployment)
	bounded, cancel := context.WithTimeoutCause(ctx, m.timing.Step, fmt.Errorf("not done within %s", m.timing.Step))
	defer cancel()
	return m.wait(bounded, func(ctx context.Context) error {
		controller, err := m.controller(ctx, deployment)
		switch {
		case err != nil:
			return err
		case controller.Status.Replicas > 0 || controller.Status.ObservedGeneration < controller.Generation:
			return pending("%d replicas of Deployment %s still run", controller.Status.Replicas, deployment)
		default:
			return m.podsGone(ctx, controller)
		}
	})
}

// podsGone is pending until the pods have ended: a Deployment does not count those that are being deleted,
// and they write to Kong until they end.
func (m *mover) podsGone(ctx context.Context, controller *appsv1.Deployment) error {
	selector, err := metav1.LabelSelectorAsSelector(controller.Spec.Selector)
	if err != nil {
		return err
	}
	pods := &corev1.PodList{}
	if err := m.kube.List(ctx, pods, client.InNamespace(controller.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return err
	}
	for i := range pods.Items {
		if phase := pods.Items[i].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return pending("pod %s/%s still runs", controller.Namespace, pods.Items[i].Name)
		}
	}
	return nil
}

// resumeController scales the ingress controller back, unless somebody else has started it. It looks first
// whether this run still has the journal.
func (m *mover) resumeController(ctx context.Context) error {
	deployment, replicas := m.journal.content.Paused, m.journal.content.Replicas
	if deployment == "" {
		return nil
	}
	err := m.journal.change(ctx, func(*content) {})
	var controller *appsv1.Deployment
	if err == nil {
		controller, err = m.controller(ctx, deployment)
	}
	if err == nil && replicasOf(controller) == 0 {
		err = m.scale(ctx, controller, replicas)
	}
	if err != nil {
		return fmt.Errorf("the ingress controller's Deployment %s is still stopped, and Kong gets no new endpoints: %w. Run the command again, or scale it to %d yourself", deployment, err, replicas)
	}
	m.say("Deployment %s runs again.", deployment)
	return m.journal.change(ctx, func(c *content) { c.Paused, c.Replicas = "", 0 })
}

func (m *mover) controller(ctx context.Context, deployment string) (*appsv1.Deployment, error) {
	namespace, name, _ := strings.Cut(deployment, "/")
	controller := &appsv1.Deployment{}
	if err := m.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, controller); err != nil {
		return nil, fmt.Errorf("the ingress controller's Deployment %s cannot be read: %w", deployment, err)
	}
	return controller, nil
}

func (m *mover) scale(ctx context.Context, controller *appsv1.Deployment, replicas int32) error {
	return edit(ctx, m.kube, controller, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

func replicasOf(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// checkPause checks the Deployment that --pause-kic names. One whose pods also run Kong would stop the
// traffic.
func (p *planner) checkPause(ctx context.Context) {
	about := named("--pause-kic " + p.options.PauseKIC)
	namespace, name, found := strings.Cut(p.options.PauseKIC, "/")
	if !found || namespace == "" || name == "" {
		p.plan.problem(about, "it must be NAMESPACE/NAME of the ingress controller's Deployment")
		return
	}
	deployment := &appsv1.Deployment{}
	err := p.kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, deployment)
	containers := deployment.Spec.Template.Spec.Containers
	switch {
	case apierrors.IsForbidden(err): // the check of your rights says so
	case err != nil:
		p.plan.problem(about, "the Deployment cannot be read: %v", err)
	case !slices.ContainsFunc(containers, isController):
		p.plan.problem(about, "none of its containers is the ingress controller, whose image is called kubernetes-ingress-controller")
	case slices.ContainsFunc(containers, isKong):
		p.plan.problem(about, "its pods also run Kong, which would stop with the ingress controller. Go without --pause-kic")
	case replicasOf(deployment) == 0 && p.plan.Stopped != p.options.PauseKIC:
		p.plan.problem(about, "it has no replicas. The ingress controller has to act on what is moved: scale it up first")
	}
}

// isController reports whether a container is Kong's ingress controller, by its image or its settings.
func isController(c corev1.Container) bool {
	return strings.Contains(imageName(c.Image), "ingress-controller") ||
		slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Name, "CONTROLLER_KONG_ADMIN_") })
}

// isKong reports whether a container is Kong itself.
func isKong(c corev1.Container) bool {
	return !isController(c) && (strings.HasPrefix(imageName(c.Image), "kong") ||
		slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Name, "KONG_") }))
}

// imageName is the last part of an image's name, without registry, tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}
