package hack_test

import (
	"os/exec"
	"testing"
)

// A version with a v is refused before anything is made of it.
func TestReleaseVersion(t *testing.T) {
	for version, want := range map[string]bool{"1.2.3": true, "1.2.3-rc.1": true, "v1.2.3": false, "1.2": false, "": false, "1.2.3 4": false} {
		command := exec.Command("make", "--no-print-directory", "release-version", "VERSION="+version)
		command.Dir = ".."
		if output, err := command.CombinedOutput(); (err == nil) != want {
			t.Errorf("VERSION=%q: %v, %s", version, err, output)
		}
	}
}
