// Package version says which build this is.
package version

import "runtime/debug"

// Version of the operator, set by the linker (-X). A build without it says what Go knows
// of the commit.
var Version = ""

// String returns the version.
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
