package plugin

// Names of fields, as Differences gives them, that do not touch traffic.
const (
	FieldTags         = "tags"
	FieldInstanceName = "instanceName"
)
