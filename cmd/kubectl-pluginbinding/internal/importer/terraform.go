package importer

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// tfModule is a module in the output of `terraform show -json`.
type tfModule struct {
	Resources []struct {
		Address string `json:"address"`
		Type    string `json:"type"`
		Mode    string `json:"mode"`
		Values  struct {
			ID any `json:"id"` // a text, for all that is in Kong
		} `json:"values"`
	} `json:"resources"`
	Children []tfModule `json:"child_modules"`
}

// tfState is the output of `terraform show -json`, or of `terraform state pull`.
type tfState struct {
	Values *struct {
		Root tfModule `json:"root_module"`
	} `json:"values"`
	Version   int `json:"version"`
	Resources []struct {
		Module    string `json:"module"`
		Mode      string `json:"mode"`
		Type      string `json:"type"`
		Name      string `json:"name"`
		Instances []struct {
			Key        any `json:"index_key"`
			Attributes struct {
				ID any `json:"id"`
			} `json:"attributes"`
		} `json:"instances"`
	} `json:"resources"`
}

// ParseTerraform reads a state of Terraform: the addresses and IDs of what it manages. Terraform goes
// by ID, so that the kinds of the resources do not matter.
func ParseTerraform(state *State, name string, raw []byte) error {
	if len(raw) > MaxStateBytes {
		return fmt.Errorf("%s: the file has more than %d MiB", name, MaxStateBytes>>20)
	}
	var file tfState
	if err := json.Unmarshal(raw, &file); err != nil || file.Values == nil && file.Version == 0 {
		return fmt.Errorf("%s is not a state of Terraform: use the output of `terraform show -json` or `terraform state pull`", name)
	}
	if file.Values != nil {
		state.addModule(file.Values.Root)
	}
	for _, resource := range file.Resources {
		address := resource.Type + "." + resource.Name
		if resource.Mode == "data" {
			continue
		}
		if resource.Module != "" {
			address = resource.Module + "." + address
		}
		for _, instance := range resource.Instances {
			state.addResource(address+indexOf(instance.Key), instance.Attributes.ID)
		}
	}
	state.Tool, state.Files = "Terraform", append(state.Files, name)
	return nil
}

func (s *State) addModule(module tfModule) {
	for _, resource := range module.Resources {
		if resource.Mode != "data" {
			s.addResource(resource.Address, resource.Values.ID)
		}
	}
	for _, child := range module.Children {
		s.addModule(child)
	}
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (s *State) addResource(address string, value any) {
	id, _ := value.(string)
	if id = strings.ToLower(id); uuidPattern.MatchString(id) {
		s.Entries = append(s.Entries, Entry{Address: address, ID: id})
	}
}

func indexOf(key any) string {
	switch key := key.(type) {
	case string:
		return fmt.Sprintf("[%q]", key)
	case float64:
		return fmt.Sprintf("[%d]", int(key))
	}
	return ""
}
