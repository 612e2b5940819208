package handover

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// JournalName is the name of the ConfigMap.
	JournalName = "pluginbinding-handover"
	journalKey  = "journal.json"
	// journalLabel is on every journal.
	journalLabel = "kong.pluginbinding.io/handover-journal"
	// maxJournal bounds what is read of a journal, in bytes. The API server bounds a ConfigMap.
	maxJournal = 1 << 20
)

// errLost ends a run whose journal another run has written.
var errLost = errors.New("another run has taken over the journal; nothing more was changed by this one")

// content is what the journal holds.
type content struct {
	// Holder is the run that is at work since it last renewed.
	Holder  string    `json:"holder,omitempty"`
	Renewed time.Time `json:"renewed,omitzero"`
	Items   []*Item   `json:"items"`
	// Paused is the Deployment of the ingress controller that was scaled to 0, as namespace/name.
	Paused   string `json:"paused,omitempty"`
	Replicas int32  `json:"replicas,omitempty"`
}

// journal is written before each step. Every write names the version that it replaces, so that of two
// runs one stops.
type journal struct {
	kube  client.Client
	now   func() time.Time
	lease time.Duration
	self  string

	mu        sync.Mutex
	configMap *corev1.ConfigMap
	content   content
}

// openJournal reads the journal of a namespace. It waits for another run's lease to end, and refuses if
// that run is alive.
func openJournal(ctx context.Context, kube client.Client, namespace string, t Timing) (*journal, error) {
	j := &journal{kube: kube, now: time.Now, lease: t.Lease, self: rand.Text()}
	if err := j.read(ctx, namespace); err != nil {
		return nil, err
	}
	for other := j.content.Renewed; j.content.Holder != "" && j.now().Sub(other) < t.Lease; {
		if err := sleep(ctx, min(t.Poll, t.Lease)); err != nil {
			return nil, err
		}
		if err := j.read(ctx, namespace); err != nil {
			return nil, err
		}
		if j.content.Holder != "" && j.content.Renewed.After(other) {
			return nil, fmt.Errorf("another run is at work in namespace %s, as its ConfigMap %s says; wait until it has ended", namespace, JournalName)
		}
	}
	return j, nil
}

func (j *journal) read(ctx context.Context, namespace string) error {
	j.configMap, j.content = &corev1.ConfigMap{}, content{}
	err := j.kube.Get(ctx, types.NamespacedName{Namespace: namespace, Name: JournalName}, j.configMap)
	if apierrors.IsNotFound(err) {
		j.configMap = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: JournalName, Labels: map[string]string{journalLabel: "true"}}}
		return nil
	}
	if err != nil {
		return fmt.Errorf("the journal cannot be read: %w", err)
	}
	raw := j.configMap.Data[journalKey]
	if len(raw) > maxJournal {
		return fmt.Errorf("ConfigMap %s/%s is no journal: it is too long", namespace, JournalName)
	}
	if err := json.Unmarshal([]byte(raw), &j.content); err != nil {
		return fmt.Errorf("ConfigMap %s/%s is no journal: %w", namespace, JournalName, err)
	}
	return nil
}

// write stores the journal as it is now. The caller holds the lock.
func (j *journal) write(ctx context.Context) error {
	j.content.Renewed = j.now()
	raw, err := json.Marshal(j.content)
	if err != nil {
		return err
	}
	err = j.store(ctx, raw)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		if err := j.readOwn(ctx); err != nil {
			return err
		}
		err = j.store(ctx, raw)
	}
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err):
		return errLost
	case err != nil:
		return fmt.Errorf("the journal cannot be written, and nothing is done without it: %w", err)
	}
	return nil
}

// store replaces the version of the journal that this run knows.
func (j *journal) store(ctx context.Context, raw []byte) error {
	next := j.configMap.DeepCopy()
	next.Data = map[string]string{journalKey: string(raw)}
	var err error
	if next.ResourceVersion == "" {
		err = j.kube.Create(ctx, next)
	} else {
		err = j.kube.Update(ctx, next)
	}
	if err == nil {
		j.configMap = next
	}
	return err
}

// readOwn reads the journal after a conflict. The response to an earlier write of this run may have been
// lost: then the stored journal names this run, which nobody else writes.
func (j *journal) readOwn(ctx context.Context) error {
	stored, held := &corev1.ConfigMap{}, content{}
	if err := j.kube.Get(ctx, client.ObjectKeyFromObject(j.configMap), stored); err != nil {
		return fmt.Errorf("the journal cannot be read: %w", err)
	}
	if json.Unmarshal([]byte(stored.Data[journalKey]), &held) != nil || held.Holder != j.self {
		return errLost
	}
	j.configMap = stored
	return nil
}

// change changes the journal and stores it.
func (j *journal) change(ctx context.Context, edit func(*content)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	edit(&j.content)
	j.content.Holder = j.self
	return j.write(ctx)
}

// renew stores the journal if it was not stored for a third of the lease.
func (j *journal) renew(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.now().Sub(j.content.Renewed) < j.lease/3 {
		return nil
	}
	return j.write(ctx)
}

// release lets the next run begin at once. Items that were not begun are planned anew then. Without items
// the journal goes.
func (j *journal) release(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.content.Holder != j.self {
		return nil // never begun
	}
	j.content.Items = slices.DeleteFunc(j.content.Items, func(i *Item) bool { return !i.begun() })
	if len(j.content.Items) == 0 && j.content.Paused == "" {
		return client.IgnoreNotFound(j.kube.Delete(ctx, j.configMap, client.Preconditions{ResourceVersion: &j.configMap.ResourceVersion}))
	}
	j.content.Holder = ""
	return j.write(ctx)
}

// open are the items that are not done.
func (c *content) open() []*Item {
	return slices.DeleteFunc(slices.Clone(c.Items), func(i *Item) bool { return i.Done })
}

// unfinished are those that were begun and are not done.
func (c *content) unfinished() []*Item {
	return slices.DeleteFunc(c.open(), func(i *Item) bool { return !i.begun() })
}

// sleep waits, or returns the error of the context.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
