package kic

import (
	"context"
	"errors"
	"fmt"
)

// Stats are the counts so far.
func (k *KIC) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

// WaitSynced waits until KIC wrote to Kong with success what it wants for the objects
// that the API server has now.
func (k *KIC) WaitSynced(ctx context.Context) error {
	for {
		o, err := load(ctx, k.live, k.options.WatchNamespaces)
		if err != nil {
			return errors.Join(fmt.Errorf("kic: %w", err), k.Stats().LastError)
		}
		want, _ := translate(o, k.options.Tag, k.options.IngressClass)
		hash := want.hash()
		k.mu.Lock()
		applied, ticked, last := k.applied, k.ticked, k.stats.LastError
		k.mu.Unlock()
		if applied == hash {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("kic: not in sync"), ctx.Err(), last)
		case <-ticked:
		}
	}
}

// WaitTicks waits until n whole ticks have passed: ones that began after the call.
func (k *KIC) WaitTicks(ctx context.Context, n int) error {
	for range n + 1 {
		k.mu.Lock()
		ticked := k.ticked
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			return fmt.Errorf("kic: waiting for %d ticks: %w", n, ctx.Err())
		case <-ticked:
		}
	}
	return nil
}
