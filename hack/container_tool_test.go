package hack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A tool that is installed and does not work is no reason not to take the next.
func TestTheFirstContainerToolThatWorksIsTaken(t *testing.T) {
	const works, broken = "#!/bin/sh\n", "#!/bin/sh\necho \"$0 has no daemon\" >&2\nexit 1\n"
	for name, test := range map[string]struct {
		tools map[string]string
		want  string // empty: none works
	}{
		"all work":                   {map[string]string{"docker": works, "podman": works, "buildah": works}, "docker"},
		"docker without its daemon":  {map[string]string{"docker": broken, "buildah": works}, "buildah"},
		"podman instead of docker":   {map[string]string{"podman": works, "buildah": works}, "podman"},
		"only one that does not run": {map[string]string{"docker": broken}, ""},
		"none":                       {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			for tool, script := range test.tools {
				if err := os.WriteFile(filepath.Join(bin, tool), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			bash, err := exec.LookPath("bash")
			if err != nil {
				t.Fatal(err)
			}
			script, err := os.ReadFile("container-tool.sh") // as a file that this test depends on
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), bash, "-c", string(script))
			cmd.Env = []string{"PATH=" + bin}
			var complaint strings.Builder
			cmd.Stderr = &complaint
			output, err := cmd.Output()
			if got := strings.TrimSpace(string(output)); got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("took %q, want %q; %v, %s", got, test.want, err, complaint.String())
			}
			if test.want == "" && (!strings.Contains(complaint.String(), "CONTAINER_TOOL=") || strings.Contains(complaint.String(), "docker info:") != (test.tools["docker"] == broken)) {
				t.Errorf("the reasons are %q", complaint.String())
			}
		})
	}
}
