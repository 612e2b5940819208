package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		args             []string
		code             int
		out, errContains string
	}{
		"no Kong":          {nil, 2, "", "--kong-admin-url is missing"},
		"no time":          {[]string{"--kong-admin-url=http://127.0.0.1:1", "--interval=0s"}, 2, "", "--interval"},
		"an argument":      {[]string{"--kong-admin-url=http://127.0.0.1:1", "x"}, 2, "", `unexpected argument "x"`},
		"help":             {[]string{"--help"}, 0, "", "-enable-reverse-sync"},
		"no such file":     {[]string{"--kong-admin-url=http://127.0.0.1:1", "--kubeconfig=testdata/none"}, 1, "", "none"},
		"the CRDs":         {[]string{"--print-crds"}, 0, "name: kongconsumers.configuration.konghq.com", ""},
		"the CRDs, second": {[]string{"--print-crds"}, 0, "\n---\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, &errs)
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errContains) {
				t.Errorf("standard output %q, standard error %q", &out, &errs)
			}
		})
	}
}
