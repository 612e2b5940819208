package importer

import (
	"slices"
	"strings"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
)

// State is what another tool manages, as its files say.
type State struct {
	// Tool is decK or Terraform, and Files are where the state was read from.
	Tool  string
	Files []string
	// SelectTags are the tags of what decK manages. Without them decK manages everything in the
	// workspace.
	SelectTags []string
	// Workspace that the state names, empty if it names none.
	Workspace string
	Entries   []Entry
}

// Entry is one plugin in a state.
type Entry struct {
	// Address is how to find the entry: a path in a state file, or an address of Terraform.
	Address string
	// ID that the entry fixes, empty if it fixes none.
	ID           string
	Plugin       string
	InstanceName string
	// Names or IDs of the entities of the scope.
	Service, Route, Consumer, ConsumerGroup string
}

// rowIndex finds rows by what an entry says of them.
type rowIndex struct {
	ids     map[string]bool
	byPlace map[string]string
}

func indexRows(kong *Kong) rowIndex {
	index := rowIndex{ids: map[string]bool{}, byPlace: map[string]string{}}
	for _, row := range kong.Plugins {
		index.ids[row.ID] = true
		places := []string{row.Name}
		for _, part := range []struct {
			kind adminapi.EntityKind
			id   string
		}{
			{adminapi.Service, row.Scope.ServiceID}, {adminapi.Route, row.Scope.RouteID},
			{adminapi.Consumer, row.Scope.ConsumerID}, {adminapi.ConsumerGroup, row.Scope.ConsumerGroupID},
		} {
			var longer []string
			for _, place := range places {
				longer = append(longer, place+"\n"+part.id)
				for _, name := range []string{kong.Entities[part.kind][part.id].Name, kong.Entities[part.kind][part.id].CustomID} {
					if name != "" {
						longer = append(longer, place+"\n"+name)
					}
				}
			}
			places = longer
		}
		for _, place := range places {
			index.byPlace[place] = row.ID
		}
	}
	return index
}

// find returns the ID of the row of an entry: the one with its ID, or the one with its plugin and scope.
func (x rowIndex) find(e *Entry) string {
	if e.ID != "" && x.ids[e.ID] {
		return e.ID
	}
	return x.byPlace[strings.Join([]string{e.Plugin, e.Service, e.Route, e.Consumer, e.ConsumerGroup}, "\n")]
}

// isNamed reports whether the state names all entities of the scope.
func (e *Entry) isNamed() bool {
	return !slices.Contains([]string{e.Service, e.Route, e.Consumer, e.ConsumerGroup}, unnamed)
}

// manages reports whether the next run of the tool would delete the row when its files do not have it.
func (s *State) manages(row plugin.Plugin) bool {
	for _, tag := range s.SelectTags {
		if !slices.Contains(row.Tags, tag) {
			return false
		}
	}
	return true
}
