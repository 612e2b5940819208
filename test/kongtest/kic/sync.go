package kic

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"

	"github.com/kong/go-kong/kong"
)

// rowError is a write of a row that failed.
type rowError struct {
	kind string
	row  row
	err  error
}

func (e *rowError) Error() string { return fmt.Sprintf("%s: %v", e.kind, e.err) }
func (e *rowError) Unwrap() error { return e.err }

// syncer makes Kong's rows with KIC's tag equal to a state.
type syncer struct {
	admin   *admin
	tag     string
	current map[string][]row
	schemas map[string]kong.Schema // by plugin
	count   func(deleted bool)
}

// sync reads everything with the tag and writes the difference. It ends with the level
// in which a write failed: the rows of one level are written at the same time, those
// of the next one after them, and deletions come last.
func (s *syncer) sync(ctx context.Context, want *state) error {
	s.current = map[string][]row{}
	for _, level := range levels {
		for _, kind := range level {
			rows, err := s.admin.rows(ctx, kind, s.tag)
			if err != nil {
				return err
			}
			s.current[kind] = rows
		}
	}
	wanted, err := s.identify(ctx, want)
	if err != nil {
		return err
	}
	for _, level := range levels {
		if err := s.writeLevel(ctx, level, wanted); err != nil {
			return err
		}
	}
	for _, level := range slices.Backward(levels) {
		if err := s.deleteLevel(ctx, level, wanted); err != nil {
			return err
		}
	}
	return nil
}

// identify fills the plugins' defaults, and takes the ID of the row that Kong has with
// KIC's tag for the same plugin and scope.
func (s *syncer) identify(ctx context.Context, want *state) (map[string][]row, error) {
	wanted := maps.Clone(want.Rows)
	wanted["plugins"] = nil
	s.schemas = map[string]kong.Schema{}
	for _, r := range want.Rows["plugins"] {
		filled, err := s.identifyPlugin(ctx, r)
		if err != nil {
			return nil, &rowError{"plugins", r, err}
		}
		wanted["plugins"] = append(wanted["plugins"], filled)
	}
	return wanted, nil
}

func (s *syncer) identifyPlugin(ctx context.Context, r row) (row, error) {
	name := text(r["name"])
	if s.schemas[name] == nil {
		schema, err := s.admin.schema(ctx, name)
		if err != nil {
			return nil, err
		}
		s.schemas[name] = schema
	}
	filled, err := withDefaults(r, s.schemas[name])
	if err != nil {
		return nil, err
	}
	for i, c := range s.current["plugins"] {
		if c.key("plugins") != filled.key("plugins") {
			continue
		}
		filled["id"] = c.id()
		if s.current["plugins"][i], err = withoutDeprecations(filled, c, s.schemas[name]); err != nil {
			return nil, err
		}
	}
	return filled, nil
}

func (s *syncer) writeLevel(ctx context.Context, level []string, wanted map[string][]row) error {
	var failed error
	for _, kind := range level {
		for _, r := range wanted[kind] {
			if current := byID(s.current[kind], r.id()); current != nil {
				if equal(r, current) {
					continue
				}
				r = maps.Clone(r)
				r["created_at"] = current["created_at"]
			}
			s.count(false)
			err := s.admin.do(ctx, http.MethodPut, "/"+kind+"/"+url.PathEscape(r.id()), r, nil)
			if err != nil && failed == nil {
				failed = &rowError{kind, r, err}
			}
		}
	}
	return failed
}

func (s *syncer) deleteLevel(ctx context.Context, level []string, wanted map[string][]row) error {
	var failed error
	for _, kind := range level {
		for _, r := range s.current[kind] {
			if byID(wanted[kind], r.id()) != nil {
				continue
			}
			s.count(true)
			err := s.admin.do(ctx, http.MethodDelete, "/"+kind+"/"+url.PathEscape(r.id()), nil, nil)
			if err != nil && failed == nil {
				failed = &rowError{kind, r, err}
			}
		}
	}
	return failed
}

func byID(rows []row, id string) row {
	for _, r := range rows {
		if r.id() == id {
			return r
		}
	}
	return nil
}

// equal compares what KIC wants with what Kong has. Kong's times do not count, nor
// the order of strings in a list.
func equal(want, has row) bool {
	return reflect.DeepEqual(relevant(want), relevant(has))
}

func relevant(r row) map[string]any {
	out := map[string]any{}
	for name, value := range r {
		if value != nil && name != "id" && name != "created_at" && name != "updated_at" {
			out[name] = sorted(value)
		}
	}
	return out
}

func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = sorted(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = sorted(v[i])
		}
		slices.SortStableFunc(out, compareText)
		return out
	default:
		return v
	}
}

// compareText orders strings and leaves everything else where it is.
func compareText(a, b any) int {
	x, isText := a.(string)
	y, areTexts := b.(string)
	switch {
	case !isText || !areTexts, x == y:
		return 0
	case x < y:
		return -1
	default:
		return 1
	}
}
