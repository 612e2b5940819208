package handover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/internal/kic"
)

const longHandover = `Move plugins from Kong's ingress controller to this operator.

One KongPlugin on one object becomes one PluginPolicy. Its plugins are made on the routes together with
their services, where the ingress controller puts none. When they are in force, the name of the KongPlugin
goes from the annotation konghq.com/plugins, and the ingress controller deletes its own. No request meets a
route without its plugin. Plugins of consumers and global ones have no place beside them: a PluginBinding
takes those over under their IDs.

Nothing is written before everything was checked and you have agreed to the plan. A journal, the ConfigMap
pluginbinding-handover in the namespace, names each step before it is taken. Run the command again to go on
after an interruption, or with --undo to put everything back that the journal has.`

const exampleHandover = `  # What would move, and what keeps it from moving
  kubectl pluginbinding handover kic -n shop --dry-run

  # All plugins of the namespace, after a question
  kubectl pluginbinding handover kic -n shop

  # The plugins of one Ingress; one KongPlugin wherever it is attached
  kubectl pluginbinding handover kic -n shop ingress/web
  kubectl pluginbinding handover kic -n shop kongplugin/limit

  # With the IDs that the plugins have in Kong
  kubectl pluginbinding handover kic -n shop --keep-ids

  # Put the last run back
  kubectl pluginbinding handover kic -n shop --undo`

const longHandback = `Move plugins back to Kong's ingress controller that "handover kic" moved.

It takes the steps of the hand-over in the opposite order: the name of the KongPlugin goes back into the
annotation konghq.com/plugins, and when the ingress controller has made its plugins, the PluginPolicy or
PluginBinding goes. The KongPlugins have to exist.`

const exampleHandback = `  # Everything of the namespace, after a question
  kubectl pluginbinding handback kic -n shop

  # The plugins of one Ingress
  kubectl pluginbinding handback kic -n shop ingress/web`

// NewHandover returns the command handover.
func NewHandover(f *cli.Factory) *cobra.Command {
	return parent("handover", "Move plugins from another tool to this operator", newCommand(f, &command{
		use: "kic [RESOURCE...]", short: "Move plugins from Kong's ingress controller to this operator", long: longHandover, example: exampleHandover,
	}))
}

// NewHandback returns the command handback.
func NewHandback(f *cli.Factory) *cobra.Command {
	return parent("handback", "Move plugins back to another tool", newCommand(f, &command{
		use: "kic [RESOURCE...]", short: "Move plugins back to Kong's ingress controller", long: longHandback, example: exampleHandback, back: true,
	}))
}

func parent(use, short string, child *cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	command.AddCommand(child)
	return command
}

// command is one of the two.
type command struct {
	use, short, long, example string
	back                      bool

	options          Options
	output           *cli.Output
	gateway          string
	allNamespaces    bool
	yes, dryRun      bool
	undo             bool
	kicInterval      time.Duration
	kongStateRefresh time.Duration
}

func newCommand(f *cli.Factory, c *command) *cobra.Command {
	c.output = cli.NewOutput()
	cobraCommand := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example,
		RunE: func(cc *cobra.Command, args []string) error { return c.run(cc.Context(), f, args) },
	}
	c.output.AddFlags(cobraCommand)
	flags := cobraCommand.Flags()
	flags.StringVar(&c.gateway, "gateway", "", "The KongGateway, as [NAMESPACE/]NAME; not needed if there is only one")
	flags.BoolVarP(&c.allNamespaces, "all-namespaces", "A", false, "The plugins of all namespaces")
	flags.BoolVarP(&c.yes, "yes", "y", false, "Do not ask")
	flags.BoolVar(&c.dryRun, "dry-run", false, "Only show the plan, and what keeps it from being carried out")
	flags.IntVar(&c.options.Batch, "batch", 1, "How many plugins move at a time")
	flags.StringVar(&c.options.Tag, "kic-tag", DefaultTag, "The tag of what the ingress controller makes in Kong")
	flags.DurationVar(&c.kicInterval, "kic-sync-period", 3*time.Second, "The ingress controller's --proxy-sync-seconds")
	flags.DurationVar(&c.kongStateRefresh, "kong-update-frequency", 5*time.Second, "Kong's worker_state_update_frequency")
	flags.DurationVar(&c.options.Timing.Step, "step-timeout", DefaultTiming.Step, "How long one step may take before it is put back")
	if !c.back {
		flags.BoolVar(&c.undo, "undo", false, "Put back what the journal has: the last run, or what it did until it was interrupted")
		flags.BoolVar(&c.options.KeepIDs, "keep-ids", false, "Keep the IDs of the plugins in Kong: one PluginBinding for each, which follows no new route")
		flags.BoolVar(&c.options.AcceptPrecedence, "accept-precedence", false, "Move plugins of routes and services although a plugin of the same name is on a consumer, which Kong then no longer prefers")
		flags.StringVar(&c.options.PauseKIC, "pause-kic", "", "Scale this Deployment of the ingress controller, as NAMESPACE/NAME, to 0 while plugins move. Its pods must not run Kong, too")
	}
	return cobraCommand
}

// maxBatch bounds --batch.
const maxBatch = 50

// timings derives the pauses from the periods of the two programs.
func (c *command) timings() Timing {
	t := DefaultTiming
	t.InForce, t.Sync, t.Guard = c.kongStateRefresh+time.Second, c.kicInterval+time.Second, 3*c.kicInterval+time.Second
	t.Step = c.options.Timing.Step
	t.Poll = min(t.Poll, max(c.kicInterval/4, 10*time.Millisecond))
	return t
}

// run plans, asks and moves. --timeout does not bound it: each step has a bound of its own, and there may
// be many.
func (c *command) run(ctx context.Context, f *cli.Factory, args []string) error {
	if c.options.Batch < 1 || c.options.Batch > maxBatch || c.kicInterval <= 0 || c.kongStateRefresh < 0 {
		return fmt.Errorf("--batch must be from 1 to %d, and the periods must be positive", maxBatch)
	}
	if c.undo && len(args) > 0 {
		return errors.New("--undo puts back what the journal of the namespace has, and takes no resources")
	}
	c.options.Timing = c.timings()
	r, closeKong, err := c.connect(ctx, f, args)
	if err != nil {
		return err
	}
	defer closeKong()
	if c.undo {
		return c.runUndo(ctx, f, r)
	}
	plan, err := r.Plan(ctx, c.back)
	if err != nil {
		return err
	}
	if err := c.show(f, plan); err != nil {
		return err
	}
	return c.carryOut(ctx, f, r, plan)
}

// carryOut asks, and moves what the plan has.
func (c *command) carryOut(ctx context.Context, f *cli.Factory, r *Run, plan *Plan) error {
	switch {
	case len(plan.Problems) > 0:
		return &cli.ExitError{Code: cli.CodeError, Err: fmt.Errorf("%d problems keep the plan from being carried out; nothing was changed", len(plan.Problems))}
	case plan.isEmpty():
		return nil
	case c.dryRun:
		return cli.ErrWouldChange
	}
	if agreed, err := c.agree(f, "Carry out this plan?"); err != nil || !agreed {
		return err
	}
	progress := f.NewProgress("plugins moved", len(plan.Items)+len(plan.Unfinished))
	defer progress.Close()
	r.Moved = progress.Step
	return c.explain(ctx, r.Execute(ctx, plan.Items))
}

func (c *command) runUndo(ctx context.Context, f *cli.Factory, r *Run) error {
	journals, err := r.journals(ctx, c.options.Namespace)
	if err != nil {
		return err
	}
	plan := &Plan{Items: []*Item{}}
	for _, j := range journals {
		plan.Items = append(plan.Items, j.content.Items...)
	}
	if err := c.show(f, plan); err != nil || len(journals) == 0 {
		return err
	}
	if c.dryRun {
		return cli.ErrWouldChange
	}
	if agreed, err := c.agree(f, "Put these back?"); err != nil || !agreed {
		return err
	}
	return c.explain(ctx, r.Undo(ctx))
}

func (c *command) agree(f *cli.Factory, question string) (bool, error) {
	if c.yes {
		return true, nil
	}
	agreed, err := f.Confirm(question)
	if err == nil && !agreed {
		fmt.Fprintln(f.ErrOut, "Nothing was changed.")
	}
	return agreed, err
}

// explain says after an interruption how to go on.
func (c *command) explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w. Every route has its plugin. Run the command again to go on, or handover kic --undo to put back what has begun", err)
	}
	return err
}

// connect finds the KongGateway and connects to its Kong.
func (c *command) connect(ctx context.Context, f *cli.Factory, args []string) (*Run, func(), error) {
	kube, err := f.Client()
	if err != nil {
		return nil, nil, err
	}
	namespace, _, err := f.Namespace()
	if err != nil {
		return nil, nil, err
	}
	gateway, err := c.findGateway(ctx, kube, namespace)
	if err != nil {
		return nil, nil, err
	}
	c.options.Namespace, c.options.GlobalNamespace = namespace, namespace
	if c.allNamespaces {
		c.options.Namespace, c.options.GlobalNamespace = "", gateway.Namespace
	}
	if c.options.Resources, err = resourcesOf(kube, args, c.options.Namespace); err != nil {
		return nil, nil, err
	}
	connection, err := kong.Open(ctx, f, gateway)
	if err != nil {
		return nil, nil, err
	}
	say := func(format string, args ...any) { fmt.Fprintf(f.ErrOut, format+"\n", args...) }
	return &Run{Kube: kube, Kong: connection.Client, Gateway: gateway, Options: c.options, Say: say, Moved: func() {}}, connection.Close, nil
}

func (c *command) findGateway(ctx context.Context, kube client.Client, namespace string) (*v1alpha1.KongGateway, error) {
	if c.gateway != "" {
		in, name, found := strings.Cut(c.gateway, "/")
		if !found {
			in, name = namespace, c.gateway
		}
		gateway := &v1alpha1.KongGateway{}
		return gateway, kube.Get(ctx, client.ObjectKey{Namespace: in, Name: name}, gateway)
	}
	list := &v1alpha1.KongGatewayList{}
	if err := kube.List(ctx, list); err != nil {
		return nil, fmt.Errorf("the KongGateways cannot be listed; name one with --gateway: %w", err)
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("there are %d KongGateways; name one with --gateway NAMESPACE/NAME", len(list.Items))
	}
	return &list.Items[0], nil
}

// resourcesOf reads arguments like ingress/web.
func resourcesOf(kube client.Client, args []string, namespace string) (resources []kic.Object, err error) {
	for _, arg := range args {
		kind, name, found := strings.Cut(arg, "/")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is no resource: it must be like ingress/web or kongplugin/limit", arg)
		}
		if namespace == "" {
			return nil, errors.New("resources are of one namespace: leave out -A")
		}
		gvk, err := kube.RESTMapper().KindFor(schema.ParseGroupResource(strings.ToLower(kind)).WithVersion(""))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", arg, err)
		}
		resources = append(resources, kic.Object{Kind: gvk.Kind, Namespace: namespace, Name: name})
	}
	return resources, nil
}

// show prints the plan, its notes and its problems.
func (c *command) show(f *cli.Factory, plan *Plan) error {
	becomes := "Becomes"
	if c.back || c.undo {
		becomes = "Is now"
	}
	result := &cli.Result{
		Kind: "HandoverPlan", Value: plan,
		Columns: []cli.Column{{Name: "Namespace"}, {Name: "Attached to"}, {Name: "KongPlugin"}, {Name: "Plugin"}, {Name: "In Kong"}, {Name: becomes}, {Name: "How"}},
		Empty:   "Nothing to move.",
	}
	for _, item := range plan.Unfinished {
		result.Rows = append(result.Rows, rowOf(item, "unfinished, at: "+item.Step))
	}
	for _, item := range plan.Items {
		result.Rows = append(result.Rows, rowOf(item, how(item)))
		result.Names = append(result.Names, item.Namespace+"/"+item.Name)
	}
	if err := c.output.Print(f, result); err != nil {
		return err
	}
	for _, note := range plan.Notes {
		fmt.Fprintln(f.ErrOut, "note: "+note)
	}
	for _, problem := range plan.Problems {
		fmt.Fprintln(f.ErrOut, "problem: "+problem.String())
	}
	return nil
}

func rowOf(item *Item, how string) cli.Row {
	on := "all requests"
	if item.Object != nil {
		on = item.Object.Kind + "/" + item.Object.Name
	}
	becomes := "PluginPolicy/" + item.Name
	if item.takesOver() {
		becomes = fmt.Sprintf("%d PluginBindings", len(item.Rows))
		if len(item.Rows) < 2 {
			becomes = "PluginBinding/" + item.Name
		}
	}
	rows := fmt.Sprint(len(item.Rows))
	if len(item.Rows) == 0 {
		rows = "-"
	}
	return cli.Row{Cells: []any{item.Namespace, on, item.KongPlugin.Name, item.Plugin, rows, becomes, how}}
}

// how says in few words how an item moves.
func how(item *Item) string {
	switch {
	case item.Undoing && item.Way == Beside:
		return "the ingress controller's beside it, then it goes"
	case item.Undoing && item.Way == TakeOver:
		return "left in Kong, taken by the ingress controller"
	case item.Undoing:
		return "shadowed while the two change"
	}
	return map[Way]string{
		Beside:   "on route+service, beside the ingress controller's",
		Service:  "shadowed on its routes while the two change",
		SameID:   "taken over under its ID, shadowed meanwhile",
		TakeOver: "taken over under its ID, guarded",
	}[item.Way]
}
