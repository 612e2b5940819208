// Command dashboard writes the Grafana dashboard: go run . FILE. The same code makes the same
// bytes.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the file to write, and got %d", len(args))
	}
	content, err := render()
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], content, 0o644) //nolint:gosec // everybody may read a dashboard
}

// render is the dashboard as JSON.
func render() ([]byte, error) {
	built, err := overview().Build()
	if err != nil {
		return nil, err
	}
	number(&built)
	content, err := json.MarshalIndent(built, "", "  ")
	return append(content, '\n'), err
}

// number gives every panel an ID, and every query of a panel a letter. Without them, Grafana gives
// its own, which differ from one import to the next.
func number(built *dashboard.Dashboard) { //nolint:staticcheck // see overview
	for i := range built.Panels {
		id := uint32(i + 1)
		if row := built.Panels[i].RowPanel; row != nil {
			row.Id = id
			continue
		}
		panel := built.Panels[i].Panel
		panel.Id = &id
		for j := range panel.Targets {
			if target, ok := panel.Targets[j].(prometheus.Dataquery); ok {
				target.RefId = cog.ToPtr(string(rune('A' + j)))
				panel.Targets[j] = target
			}
		}
	}
}
