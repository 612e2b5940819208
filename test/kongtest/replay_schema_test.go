package kongtest

import (
	"encoding/json"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest/schema"
)

func pluginSchemaOf(name string) (json.RawMessage, bool) { return schema.PluginJSON(name) }
