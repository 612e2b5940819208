package processes

import (
	"context"
	"fmt"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// TestWhileDown: the process ends when Kong has made the plugin and before its ID is
// recorded, and while nothing runs the binding becomes another. What was made is found by
// its name, wherever it is.
func TestWhileDown(t *testing.T) {
	for _, plan := range []struct {
		name string
		edit func(*stage)
		over func(*stage) error
	}{
		{
			name: "the scope is edited",
			edit: func(s *stage) {
				change(s, &v1alpha1.PluginBinding{}, theBinding, func(b *v1alpha1.PluginBinding) { b.Spec.Scope.Service.Name = "invoices" })
			},
			over: func(s *stage) error {
				if err := s.bindingsReady(); err != nil {
					return err
				}
				row := s.kong.Plugin(string(s.current().Status.PluginID))
				if service, _ := row["service"].(map[string]any); service["id"] != s.kong.Entity("services", "invoices")["id"] {
					return fmt.Errorf("the plugin is still on %s", compact(row["service"]))
				}
				return nil
			},
		},
		{
			name: "the binding is deleted",
			edit: func(s *stage) { must(s.t, suite.client.Delete(context.Background(), s.current())) },
			over: func(s *stage) error { return scenarioNamed("delete").over(s) },
		},
		{
			name: "the binding is made anew",
			edit: func(s *stage) {
				must(s.t, suite.client.Delete(context.Background(), s.current()))
				change(s, &v1alpha1.PluginBinding{}, theBinding, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
				s.create(s.binding(theBinding))
			},
			over: (*stage).bindingsReady,
		},
	} {
		t.Run(plan.name, func(t *testing.T) {
			t.Parallel()
			total.plan(t, "changed while down")
			s := newStage(t, timeout)
			s.kong.Seed("services", map[string]any{"name": "invoices", "url": "http://127.0.0.1:9"})
			s.others = s.foreign()
			s.beginEmpty()
			r := s.toKong.on(onThePost(then(s.main.kill)))
			s.create(s.binding(theBinding))
			s.met(r)
			<-s.main.now().exited
			plan.edit(s)
			s.main.start(suite.manager)
			s.until("the end", func() error { return plan.over(s) })
			s.finish()
		})
	}
}
