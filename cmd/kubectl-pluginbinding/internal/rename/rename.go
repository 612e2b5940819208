// Package rename gives a binding another name or namespace, with its plugin and the plugin's ID.
//
// It writes PluginBindings, and nothing to Kong: the operator does that, by spec.replaces.
package rename

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const long = `Give a PluginBinding another name, or move it to another namespace. Its plugin passes over under its
ID and stays in force all the time.

It creates the new binding with spec.replaces, waits until that one is Ready with the same plugin, and
deletes the old one. It can be run again after an interruption. Secrets and ConfigMaps that the config
comes from have to exist in the new namespace before.

Exit codes: 0 done, 1 an error, 2 with --dry-run if there is something to do.`

const example = `  # Another name
  kubectl pluginbinding rename limit orders-limit

  # Another namespace, under the same name; show the steps only
  kubectl pluginbinding rename limit limit --to-namespace orders --dry-run`

const pollInterval = 250 * time.Millisecond

type options struct {
	factory     *cli.Factory
	toNamespace string
	dryRun      bool
}

// NewCommand returns the command rename.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{factory: f}
	command := &cobra.Command{
		Use: "rename NAME NEWNAME", Short: "Give a binding another name or namespace, with its plugin", Long: long, Example: example,
		Args: cobra.ExactArgs(2), ValidArgsFunction: f.CompleteNames(&v1alpha1.PluginBindingList{}),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0], args[1]) },
	}
	command.Flags().StringVar(&o.toNamespace, "to-namespace", "", "Namespace of the new binding; that of the old one if empty")
	command.Flags().BoolVar(&o.dryRun, "dry-run", false, "Show the steps, and do nothing")
	return command
}

func (o *options) run(command *cobra.Command, name, newName string) error {
	ctx, cancel := o.factory.Context(command)
	defer cancel()
	c, err := o.factory.Client()
	if err != nil {
		return err
	}
	namespace, _, err := o.factory.Namespace()
	if err != nil {
		return err
	}
	r := &renaming{Client: c, factory: o.factory, dryRun: o.dryRun,
		from: types.NamespacedName{Namespace: namespace, Name: name}, to: types.NamespacedName{Namespace: namespace, Name: newName}}
	if o.toNamespace != "" {
		r.to.Namespace = o.toNamespace
	}
	return r.run(ctx)
}

// renaming is one run.
type renaming struct {
	client.Client
	factory  *cli.Factory
	dryRun   bool
	from, to types.NamespacedName
}

func (r *renaming) say(format string, args ...any) {
	if r.dryRun {
		format = "would: " + format
	}
	fmt.Fprintf(r.factory.Out, format+"\n", args...)
}

func (r *renaming) run(ctx context.Context) error {
	if r.from == r.to {
		return errors.New("the new name is the old one")
	}
	renamed, err := r.findNew(ctx)
	if err != nil {
		return err
	}
	old := &v1alpha1.PluginBinding{}
	switch err := r.Get(ctx, r.from, old); {
	case apierrors.IsNotFound(err) && renamed != nil && renamed.Status.PluginID != "":
		fmt.Fprintf(r.factory.Out, "PluginBinding %s has plugin %s already; PluginBinding %s is gone\n", r.to, renamed.Status.PluginID, r.from)
		return nil
	case err != nil:
		return fmt.Errorf("PluginBinding %s cannot be read: %w", r.from, err)
	case !old.DeletionTimestamp.IsZero() && renamed != nil && isReadyWith(renamed, old.Status.PluginID):
		fmt.Fprintf(r.factory.Out, "PluginBinding %s has plugin %s already; PluginBinding %s is being deleted\n", r.to, old.Status.PluginID, r.from)
		if r.dryRun {
			return nil
		}
		return r.awaitGone(ctx, old)
	}
	for _, step := range []func(context.Context, *v1alpha1.PluginBinding) error{r.check, r.try, r.allow, r.create, r.await, r.deleteOld} {
		if err := step(ctx, old); err != nil {
			return err
		}
	}
	return nil
}

// findNew returns the new binding that an earlier run has created, nil if there is none.
func (r *renaming) findNew(ctx context.Context) (*v1alpha1.PluginBinding, error) {
	existing := &v1alpha1.PluginBinding{}
	err := r.Get(ctx, r.to, existing)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // there is none
	case err != nil:
		return nil, fmt.Errorf("PluginBinding %s cannot be read: %w", r.to, err)
	}
	if replaced, ok := reference.Replaced(existing); !ok || replaced != r.from {
		return nil, fmt.Errorf("PluginBinding %s exists already and does not replace %s. Nothing was changed. Choose another name", r.to, r.from)
	}
	return existing, nil
}

// isReadyWith reports whether the operator has given a binding the plugin, for its current spec.
func isReadyWith(binding *v1alpha1.PluginBinding, id v1alpha1.UUID) bool {
	ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.ObservedGeneration == binding.Generation && ready.Status == metav1.ConditionTrue && binding.Status.PluginID == id
}

// check refuses what cannot end well, before anything is written.
func (r *renaming) check(ctx context.Context, old *v1alpha1.PluginBinding) error {
	switch owner := metav1.GetControllerOfNoCopy(old); {
	case owner != nil:
		return fmt.Errorf("PluginBinding %s belongs to %s %s, which would make it again. Nothing was changed. Rename that one", r.from, owner.Kind, owner.Name)
	case !old.DeletionTimestamp.IsZero():
		return fmt.Errorf("PluginBinding %s is being deleted. Nothing was changed", r.from)
	case old.Status.PluginID == "":
		return fmt.Errorf("PluginBinding %s has no plugin yet. Nothing was changed. Delete it, and create the new one", r.from)
	case !reference.AllowsWrites(old):
		return fmt.Errorf("PluginBinding %s is paused, or only observes. Nothing was changed. Let the operator manage it first", r.from)
	}
	if r.from.Namespace == r.to.Namespace {
		return nil
	}
	return r.checkSources(ctx, old)
}

// checkSources looks for what the config comes from in the new namespace.
func (r *renaming) checkSources(ctx context.Context, old *v1alpha1.PluginBinding) error {
	find := func(kind string, names []string, object func() client.Object) error {
		for _, name := range names {
			err := r.Get(ctx, types.NamespacedName{Namespace: r.to.Namespace, Name: name}, object())
			switch {
			case apierrors.IsForbidden(err):
				r.factory.Notef("you may not read %s %s in namespace %s; the operator will say if it does not exist", kind, name, r.to.Namespace)
			case err != nil:
				return fmt.Errorf("the config of PluginBinding %s comes from %s %s, which cannot be read in namespace %s: %w. Nothing was changed", r.from, kind, name, r.to.Namespace, err)
			}
		}
		return nil
	}
	return errors.Join(
		find("Secret", reference.SecretsOfBinding(old), func() client.Object { return &corev1.Secret{} }),
		find("ConfigMap", reference.ConfigMapsOfBinding(old), func() client.Object { return &corev1.ConfigMap{} }))
}

// allow lets a binding of the other namespace replace the old one.
func (r *renaming) allow(ctx context.Context, old *v1alpha1.PluginBinding) error {
	if reference.AllowsReplacement(old, r.to.Namespace) {
		return nil
	}
	r.say("add namespace %s to spec.allowReplacementFrom of PluginBinding %s", r.to.Namespace, r.from)
	if r.dryRun {
		return nil
	}
	base := old.DeepCopy()
	old.Spec.AllowReplacementFrom = append(old.Spec.AllowReplacementFrom, v1alpha1.NamespaceName(r.to.Namespace))
	return r.Patch(ctx, old, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// try asks the API server whether it would take the new binding, before anything is written.
func (r *renaming) try(ctx context.Context, old *v1alpha1.PluginBinding) error {
	err := r.Create(ctx, renamed(old, r.to), client.DryRunAll)
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return fmt.Errorf("PluginBinding %s cannot be created: %w. Nothing was changed", r.to, err)
}

// create creates the new binding, unless an earlier run has.
func (r *renaming) create(ctx context.Context, old *v1alpha1.PluginBinding) error {
	switch existing, err := r.findNew(ctx); {
	case err != nil:
		return err
	case existing != nil:
		r.say("PluginBinding %s exists already and replaces %s", r.to, r.from)
		return nil
	}
	r.say("create PluginBinding %s with spec.replaces %s", r.to, r.from)
	if r.dryRun {
		return nil
	}
	return r.Create(ctx, renamed(old, r.to))
}

// renamed is the new binding: as the old one, but for what belongs to its history.
func renamed(old *v1alpha1.PluginBinding, to types.NamespacedName) *v1alpha1.PluginBinding {
	created := &v1alpha1.PluginBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: to.Namespace, Name: to.Name, Labels: old.Labels, Annotations: map[string]string{}},
		Spec:       *old.Spec.DeepCopy(),
	}
	for key, value := range old.Annotations {
		if key != corev1.LastAppliedConfigAnnotation && key != v1alpha1.ReconcileRequestedAtAnnotation {
			created.Annotations[key] = value
		}
	}
	// A reference without a namespace means the binding's own.
	if created.Spec.GatewayRef.Namespace == "" && to.Namespace != old.Namespace {
		created.Spec.GatewayRef.Namespace = old.Namespace
	}
	created.Spec.PluginID = ""
	created.Spec.Replaces = &v1alpha1.BindingRef{Name: old.Name}
	if to.Namespace != old.Namespace {
		created.Spec.Replaces.Namespace = v1alpha1.NamespaceName(old.Namespace)
	}
	created.Spec.AllowReplacementFrom = slices.DeleteFunc(created.Spec.AllowReplacementFrom, func(n v1alpha1.NamespaceName) bool { return string(n) == to.Namespace })
	return created
}

// await waits until the new binding is Ready with the plugin of the old one.
func (r *renaming) await(ctx context.Context, old *v1alpha1.PluginBinding) error {
	r.say("wait until PluginBinding %s is Ready with plugin %s", r.to, old.Status.PluginID)
	if r.dryRun {
		return nil
	}
	binding, last := &v1alpha1.PluginBinding{}, "its status says nothing yet"
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		if err := r.Get(ctx, r.to, binding); err != nil {
			return false, err
		}
		if id := binding.Status.PluginID; id != "" && id != old.Status.PluginID {
			return false, fmt.Errorf("PluginBinding %s has plugin %s, not %s. Both bindings were left as they are", r.to, id, old.Status.PluginID)
		}
		ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.ObservedGeneration != binding.Generation {
			return false, nil
		}
		last = ready.Message
		return isReadyWith(binding, old.Status.PluginID), nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("PluginBinding %s is not Ready: %s. PluginBinding %s was not deleted; run the command again when this is solved, or delete the new binding", r.to, last, r.from)
	}
	return err
}

// deleteOld deletes the old binding, which has no plugin any more.
func (r *renaming) deleteOld(ctx context.Context, old *v1alpha1.PluginBinding) error {
	r.say("delete PluginBinding %s", r.from)
	if r.dryRun {
		return cli.ErrWouldChange
	}
	err := client.IgnoreNotFound(r.Delete(ctx, old, client.Preconditions{UID: &old.UID}))
	if err != nil {
		return err
	}
	return r.awaitGone(ctx, old)
}

// awaitGone waits until the old binding does not exist any more.
func (r *renaming) awaitGone(ctx context.Context, old *v1alpha1.PluginBinding) error {
	found := &v1alpha1.PluginBinding{}
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := r.Get(ctx, r.from, found)
		return apierrors.IsNotFound(err) || err == nil && found.UID != old.UID, client.IgnoreNotFound(err)
	})
	if err == nil && found.UID != "" && found.UID != old.UID {
		return fmt.Errorf("PluginBinding %s has plugin %s, and something has created PluginBinding %s again. Rename it there, such as in the Git repository, and delete it here",
			r.to, old.Status.PluginID, r.from)
	}
	if err != nil {
		return fmt.Errorf("PluginBinding %s is being deleted and not gone yet: %w. PluginBinding %s has its plugin; run the command again to wait on", r.from, err, r.to)
	}
	r.say("PluginBinding %s has plugin %s; PluginBinding %s is gone", r.to, old.Status.PluginID, r.from)
	return nil
}
