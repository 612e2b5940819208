package connection

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// Selector selects the entities of a kind that have all tags of a set.
type Selector struct {
	Kind adminapi.EntityKind
	Tags adminapi.TagSet
}

// Selected is an entity that a policy selects, without what only a binding needs of it.
type Selected struct {
	ID, Name, CustomID, ServiceID string
	// Namespace is that of the tag k8s-namespace, empty without one.
	Namespace string
}

// MaxSelected bounds the entities of one selector. A selector with more of them follows none.
const MaxSelected = 10_000

// maxSelectedTotal bounds the entities of all selectors of one gateway that a resync keeps.
const maxSelectedTotal = 200_000

// Selection is what one list of Kong showed for one selector. It is read-only.
type Selection struct {
	// Entities in the order of their IDs, none if there are too many.
	Entities []Selected
	// TooMany: the selector has more than MaxSelected entities, or the gateway has too many in all.
	TooMany bool
	// began orders selections by the start of their list.
	began uint64
}

// Selections are the entities that policies select, by gateway and selector: those that the last
// resync or a later look showed. They grow with what policies select, not with what Kong has. They
// are safe for concurrent use.
type Selections struct {
	mu    sync.RWMutex
	count uint64
	of    map[types.NamespacedName]map[Selector]Selection
}

// NewSelections returns no selections.
func NewSelections() *Selections {
	return &Selections{of: map[types.NamespacedName]map[Selector]Selection{}}
}

// SelectionBuilder collects the entities of a list that has begun.
type SelectionBuilder struct {
	began    uint64
	total    int
	entities map[Selector][]Selected
	tooMany  map[Selector]bool
}

// Begin begins a list for some selectors. What it adds is older than what a later list adds.
func (s *Selections) Begin(selectors ...Selector) *SelectionBuilder {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	b := &SelectionBuilder{began: s.count, entities: make(map[Selector][]Selected, len(selectors)), tooMany: map[Selector]bool{}}
	for _, selector := range selectors {
		b.entities[selector] = nil
	}
	return b
}

// Add adds an entity that the list showed.
func (b *SelectionBuilder) Add(selector Selector, e adminapi.Entity) {
	if b.tooMany[selector] {
		return
	}
	if len(b.entities[selector]) >= MaxSelected || b.total >= maxSelectedTotal {
		b.total -= len(b.entities[selector])
		b.tooMany[selector], b.entities[selector] = true, nil
		return
	}
	b.total++
	b.entities[selector] = append(b.entities[selector], Selected{
		ID: e.ID, Name: e.Name, CustomID: e.CustomID, ServiceID: e.ServiceID, Namespace: namespaceOf(e.Tags),
	})
}

// Drop drops the selectors of a kind whose list was not made.
func (b *SelectionBuilder) Drop(kind adminapi.EntityKind) {
	for selector := range b.entities {
		if selector.Kind == kind {
			delete(b.entities, selector)
		}
	}
}

const namespaceTag = "k8s-namespace:"

// namespaceOf is the namespace in the first tag that names one, empty if none does.
func namespaceOf(tags []string) string {
	for _, tag := range tags {
		if namespace, ok := strings.CutPrefix(tag, namespaceTag); ok {
			return namespace
		}
	}
	return ""
}

// Keep stores what a complete list showed, unless a later one is there already, and returns the
// selectors whose entities are others than before, or not known before.
func (s *Selections) Keep(gateway types.NamespacedName, b *SelectionBuilder) (changed sets.Set[Selector]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[gateway] == nil {
		s.of[gateway] = map[Selector]Selection{}
	}
	changed = sets.New[Selector]()
	for selector, entities := range b.entities {
		last, known := s.of[gateway][selector]
		if known && last.began > b.began {
			continue
		}
		slices.SortFunc(entities, compareSelected)
		entities = slices.CompactFunc(entities, func(a, b Selected) bool { return a.ID == b.ID })
		next := Selection{Entities: slices.Clip(entities), TooMany: b.tooMany[selector], began: b.began}
		if !known || last.TooMany != next.TooMany || !slices.Equal(last.Entities, next.Entities) {
			changed.Insert(selector)
		}
		s.of[gateway][selector] = next
	}
	return changed
}

func compareSelected(a, b Selected) int { return strings.Compare(a.ID, b.ID) }

// Get returns the entities of a selector, false if no list has shown them yet.
func (s *Selections) Get(gateway types.NamespacedName, selector Selector) (Selection, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	selection, known := s.of[gateway][selector]
	return selection, known
}

// Prune drops the selectors of a gateway that no policy has any more.
func (s *Selections) Prune(gateway types.NamespacedName, wanted sets.Set[Selector]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for selector := range s.of[gateway] {
		if !wanted.Has(selector) {
			delete(s.of[gateway], selector)
		}
	}
}

// Forget drops everything of a gateway: it is gone, or leads to another Kong.
func (s *Selections) Forget(gateway types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, gateway)
}
