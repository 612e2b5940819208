package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// Run is one run of a hand-over or a hand-back.
type Run struct {
	Kube    client.Client
	Kong    Kong
	Gateway *v1alpha1.KongGateway
	Options Options
	// Say tells people what happens. Moved is called for each item that is done.
	Say   func(format string, args ...any)
	Moved func()

	// mu guards Say and Moved, which need not be safe for concurrent use.
	mu sync.Mutex
}

// Plan checks everything and says what the run would do. It writes nothing.
func (r *Run) Plan(ctx context.Context, back bool) (*Plan, error) {
	p := &planner{kube: r.Kube, kong: r.Kong, gateway: r.Gateway, options: r.Options, plan: &Plan{Items: []*Item{}}}
	journals, err := r.journals(ctx, r.Options.Namespace)
	if err != nil {
		return nil, err
	}
	for _, j := range journals {
		p.plan.Unfinished = append(p.plan.Unfinished, j.content.unfinished()...)
		if p.plan.Stopped = cmp.Or(p.plan.Stopped, j.content.Paused); j.content.Paused != "" {
			p.plan.note("Deployment %s was stopped by a run that was interrupted, and this run starts it again.", j.content.Paused)
		}
	}
	find := p.planHandover
	if back {
		find = p.planHandback
	}
	if err := find(ctx); err != nil {
		return nil, err
	}
	if p.plan.isEmpty() {
		return p.plan, nil
	}
	return p.plan, p.checkSurroundings(ctx)
}

// journals are those that exist.
func (r *Run) journals(ctx context.Context, namespace string) ([]*journal, error) {
	list := &corev1.ConfigMapList{}
	if err := r.Kube.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{journalLabel: "true"}); err != nil {
		return nil, fmt.Errorf("the journals of earlier runs cannot be read: %w", err)
	}
	var journals []*journal
	for i := range list.Items {
		if list.Items[i].Name != JournalName {
			continue
		}
		j := &journal{kube: r.Kube}
		if err := j.read(ctx, list.Items[i].Namespace); err != nil {
			return nil, err
		}
		journals = append(journals, j)
	}
	return journals, nil
}

// Execute moves the items, after those that an interrupted run has begun.
func (r *Run) Execute(ctx context.Context, items []*Item) error {
	journals, err := r.journals(ctx, r.Options.Namespace)
	if err != nil {
		return err
	}
	byNamespace := map[string][]*Item{}
	for _, j := range journals {
		if len(j.content.unfinished()) > 0 || j.content.Paused != "" {
			byNamespace[j.configMap.Namespace] = nil // the journal has them
		}
	}
	for _, item := range items {
		byNamespace[item.Namespace] = append(byNamespace[item.Namespace], item)
	}
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		if err := r.inNamespace(ctx, namespace, func(m *mover) error {
			if err := m.begin(ctx, byNamespace[namespace]); err != nil {
				return err
			}
			return r.moveAll(ctx, m)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Undo undoes what the journals of a namespace, or of all, hold: the last item first.
func (r *Run) Undo(ctx context.Context) error {
	journals, err := r.journals(ctx, r.Options.Namespace)
	if err != nil {
		return err
	}
	for _, j := range journals {
		err := r.inNamespace(ctx, j.configMap.Namespace, func(m *mover) error {
			if err := m.resumeController(ctx); err != nil {
				return err
			}
			for _, item := range slices.Backward(slices.Clone(m.journal.content.Items)) {
				if !item.begun() {
					continue
				}
				if err := m.undo(ctx, item); err != nil {
					return fmt.Errorf("%s: %w", item, err)
				}
				r.moved(item, "put back")
				if err := m.journal.change(ctx, func(c *content) { c.Items = drop(c.Items, item) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func drop(items []*Item, item *Item) []*Item {
	return slices.DeleteFunc(items, func(i *Item) bool { return i == item })
}

// inNamespace holds the journal of a namespace.
func (r *Run) inNamespace(ctx context.Context, namespace string, work func(*mover) error) error {
	j, err := openJournal(ctx, r.Kube, namespace, r.Options.Timing)
	if err != nil {
		return err
	}
	m := &mover{
		kube: r.Kube, kong: r.Kong, journal: j, timing: r.Options.Timing, tag: r.Options.Tag, workspace: string(r.Gateway.Spec.Workspace), say: r.say,
	}
	worked := work(m)
	if ctx.Err() != nil || errors.Is(worked, errLost) {
		return worked // nothing more is written
	}
	return errors.Join(worked, j.release(ctx))
}

// begin adds the items to the journal. Those that an interrupted run has begun come first and stay as
// they are; those that are done, or were never begun, go.
func (m *mover) begin(ctx context.Context, items []*Item) error {
	return m.journal.change(ctx, func(c *content) {
		c.Items = c.unfinished()
		for _, item := range items {
			if !slices.ContainsFunc(c.Items, func(i *Item) bool { return i.key() == item.key() }) {
				c.Items = append(c.Items, item)
			}
		}
	})
}

// moveAll moves all items of the journal that are not done. Those that are being put back need the ingress
// controller, and come first.
func (r *Run) moveAll(ctx context.Context, m *mover) error {
	whole := func(ctx context.Context, i *Item) error { return r.finish(ctx, m, i, m.move(ctx, i)) }
	deployment := cmp.Or(m.journal.content.Paused, r.Options.PauseKIC)
	var undoing, items []*Item
	for _, item := range m.journal.content.open() {
		if item.Undoing {
			undoing = append(undoing, item)
		} else {
			items = append(items, item)
		}
	}
	if len(undoing) > 0 || len(items) == 0 {
		if err := m.resumeController(ctx); err != nil {
			return err
		}
		if err := r.each(ctx, undoing, whole); err != nil {
			return err
		}
	}
	if deployment != "" && len(items) > 0 {
		return r.moveWhilePaused(ctx, m, deployment, items)
	}
	return r.each(ctx, items, whole)
}

// each works on the items, so many at a time, and begins none after a failure.
func (r *Run) each(ctx context.Context, items []*Item, work func(context.Context, *Item) error) error {
	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed error
	)
	group.SetLimit(max(r.Options.Batch, 1))
	for _, item := range items {
		group.Go(func() error {
			mu.Lock()
			stop := failed != nil || ctx.Err() != nil
			mu.Unlock()
			if stop {
				return nil
			}
			if err := work(ctx, item); err != nil {
				mu.Lock()
				failed = errors.Join(failed, fmt.Errorf("%s: %w", item, err))
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return nil
	if failed == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return failed
}

// move takes all steps of one item, and puts it back at the first surprise.
func (m *mover) move(ctx context.Context, i *Item) error {
	if i.Undoing {
		return m.undo(ctx, i)
	}
	return m.orPutBack(ctx, i, m.take(ctx, i, slices.Concat(m.beforeSync(i), m.afterSync(i))))
}

// orPutBack undoes an item after a surprise. A run that was interrupted, or that lost its journal, is no
// surprise: whoever goes on decides.
func (m *mover) orPutBack(ctx context.Context, i *Item, surprise error) error {
	if surprise == nil || ctx.Err() != nil || errors.Is(surprise, errLost) {
		return surprise
	}
	m.say("%s: %v. It is put back.", i, surprise)
	if err := m.undo(ctx, i); err != nil {
		return fmt.Errorf("%w; and it cannot be put back: %w. Run the command again with --undo", surprise, err)
	}
	if err := m.journal.change(ctx, func(c *content) { c.Items = drop(c.Items, i) }); err != nil {
		return err
	}
	return fmt.Errorf("%w. It was put back", surprise)
}

// undo takes the steps back.
func (m *mover) undo(ctx context.Context, i *Item) error {
	steps, err := m.back(ctx, i)
	if err != nil {
		return err
	}
	if err := m.journal.change(ctx, func(*content) {
		if !i.Undoing || i.Done {
			i.Undoing, i.Done, i.Step = true, false, ""
		}
	}); err != nil {
		return err
	}
	if err := m.take(ctx, i, steps); err != nil {
		return err
	}
	return m.journal.change(ctx, func(*content) { i.Done = true })
}

// finish marks an item as done.
func (r *Run) finish(ctx context.Context, m *mover, i *Item, moved error) error {
	if moved != nil {
		return moved
	}
	if err := m.journal.change(ctx, func(c *content) {
		i.Done = true
		if i.Undoing {
			c.Items = drop(c.Items, i)
		}
	}); err != nil {
		return err
	}
	how := "handed over"
	if i.Undoing {
		how = "handed back"
	}
	r.moved(i, how)
	return nil
}

func (r *Run) moved(i *Item, how string) {
	r.say("%s: %s", i, how)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Moved()
}

func (r *Run) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Say(format, args...)
}
