package plan

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// chained is a simulation of objects that wait for each other: each can go on when the next one has. It
// returns the objects that have.
func chained(length int) (s *simulation, done map[string]bool) {
	s, done = &simulation{clock: &offsetClock{}, tasks: map[objectKey]*task{}, state: 1}, map[string]bool{}
	name := func(n int) string { return fmt.Sprintf("%03d", n) }
	next := map[string]string{}
	for n := range length {
		s.add(objectKey{kindBinding, types.NamespacedName{Name: name(n)}})
		next[name(n)] = name(n + 1)
	}
	done[name(length)] = true
	s.reconcile = func(_ context.Context, t *task) {
		if done[next[t.Name]] && !done[t.Name] {
			done[t.Name] = true
			s.somethingChanged()
		}
	}
	return s, done
}

func TestALongChainComesToItsEnd(t *testing.T) {
	const length = 100
	s, done := chained(length)
	if err := s.run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	if len(done) != length+1 {
		t.Errorf("%d of %d", len(done)-1, length)
	}
	for _, task := range s.tasks {
		if task.err != nil {
			t.Error(task.err)
		}
	}
}

// A plan of objects that change something again and again is not known.
func TestAPlanWithoutAnEnd(t *testing.T) {
	s, _ := chained(2)
	s.reconcile = func(context.Context, *task) { s.somethingChanged() }
	if err := s.run(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	for _, task := range s.tasks {
		if s.failureOf(task, types.NamespacedName{}) == "" {
			t.Errorf("the plan of %s is called known", task.Name)
		}
	}
}
