package plugin

// Body returns the JSON body of a POST or PUT of the plugin. It omits what is not set,
// because Kong's community edition refuses fields of the enterprise edition even when they
// are null. It never contains id and updated_at. It shares slices and maps with the plugin.
func Body(p Plugin) map[string]any {
	body := map[string]any{
		"name":    p.Name,
		"enabled": p.Enabled,
		"tags":    nonNil(p.Tags),
		"config":  p.Config,
	}
	if p.Config == nil {
		body["config"] = map[string]any{}
	}
	if p.InstanceName != "" {
		body["instance_name"] = p.InstanceName
	}
	if p.Protocols != nil {
		body["protocols"] = p.Protocols
	}
	if len(p.Ordering) > 0 {
		body["ordering"] = p.Ordering
	}
	if p.CreatedAt != 0 {
		body["created_at"] = p.CreatedAt
	}
	for name, raw := range p.Unknown {
		if !empty(decodedJSON(raw)) {
			body[name] = raw
		}
	}
	for _, dimension := range []struct{ field, id, nameField, name string }{
		{"service", p.Scope.ServiceID, "name", p.ScopeNames.Service},
		{"route", p.Scope.RouteID, "name", p.ScopeNames.Route},
		{"consumer", p.Scope.ConsumerID, "username", p.ScopeNames.Consumer},
		{"consumer_group", p.Scope.ConsumerGroupID, "name", p.ScopeNames.ConsumerGroup},
	} {
		switch {
		case dimension.name != "":
			body[dimension.field] = map[string]any{dimension.nameField: dimension.name}
		case dimension.id != "":
			body[dimension.field] = map[string]any{"id": dimension.id}
		}
	}
	return body
}

// nonNil turns nil, which JSON writes as null, into an empty list.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
