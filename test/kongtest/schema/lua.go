package schema

import "github.com/pluginbinding/kong-plugin-operator/test/kongtest/luajit"

// sandboxPath is where a Kong package installs the module that compiles
// custom_fields_by_lua. Its error messages begin with this path.
const sandboxPath = "/usr/local/share/lua/5.1/kong/tools/kong-lua-sandbox.lua"

// checkLua returns a validator that refuses Lua with a syntax error. The message is
// prefix, then LuaJIT's own.
func checkLua(prefix string) func(string) string {
	return func(source string) string {
		if message := luajit.SyntaxError(source); message != "" {
			return prefix + ": " + message
		}
		return ""
	}
}
