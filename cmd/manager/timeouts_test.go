package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/internal/inflight"
)

// When another replica leads, Kong must not be able to apply a write of the former leader. And a
// leader that stops must have the time to finish its work.
func TestTimeOutsFit(t *testing.T) {
	request, database := longestRequest(t), 5*time.Second // the default of Kong's pg_timeout
	if request+database >= leaseDuration {
		t.Errorf("a request of %v and %v of Kong's database do not fit into a lease of %v", request, database, leaseDuration)
	}
	if request+database != inflight.LongestWrite {
		t.Errorf("a write takes up to %v, and the operator counts with %v", request+database, inflight.LongestWrite)
	}
	if drainTimeout >= shutdownGrace {
		t.Errorf("a process that stops waits %v for its writes, and has %v", drainTimeout, shutdownGrace)
	}
	if retryPeriod >= renewDeadline || renewDeadline >= leaseDuration {
		t.Errorf("a lease of %v is renewed every %v for %v", leaseDuration, retryPeriod, renewDeadline)
	}
	if grace := gracePeriod(t); leaseDuration >= grace || shutdownGrace >= grace {
		t.Errorf("the pod gets %v: the lease %v, the shutdown %v", grace, leaseDuration, shutdownGrace)
	}
}

// longestRequest returns the longest limits.requestTimeout that a KongGateway permits.
func longestRequest(t *testing.T) time.Duration {
	t.Helper()
	crd := read(t, "config", "crd", "bases", "kong.pluginbinding.io_konggateways.yaml")
	m := regexp.MustCompile(`must be between 100ms and (\d+s)`).FindSubmatch(crd)
	if m == nil {
		t.Fatal("the CRD does not bound limits.requestTimeout")
	}
	longest, err := time.ParseDuration(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return longest
}

func gracePeriod(t *testing.T) time.Duration {
	t.Helper()
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(read(t, "config", "manager", "manager.yaml"), &deployment); err != nil {
		t.Fatal(err)
	}
	return time.Duration(deployment.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
