package processes

import (
	"context"
	"fmt"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// TestWhileDown kills the process after Kong has created the plugin and before its ID is
// recorded. While no process runs, the binding changes. The next process finds the plugin by
// its name, whatever its scope.
func TestWhileDown(t *testing.T) {
	for _, plan := range []struct {
		name string
		edit func(*testEnv)
		over func(*testEnv) error
	}{
		{
			name: "the scope is edited",
			edit: func(env *testEnv) {
				change(env, &v1alpha1.PluginBinding{}, bindingName, func(b *v1alpha1.PluginBinding) { b.Spec.Scope.Service.Name = "invoices" })
			},
			over: func(env *testEnv) error {
				if err := env.bindingsReady(); err != nil {
					return err
				}
				row := env.kong.Plugin(string(env.current().Status.PluginID))
				if service, _ := row["service"].(map[string]any); service["id"] != env.kong.Entity("services", "invoices")["id"] {
					return fmt.Errorf("the plugin is still on %s", toJSON(row["service"]))
				}
				return nil
			},
		},
		{
			name: "the binding is deleted",
			edit: func(env *testEnv) { must(env.t, suite.client.Delete(context.Background(), env.current())) },
			over: func(env *testEnv) error { return scenarioNamed("delete").done(env) },
		},
		{
			name: "the binding is made anew",
			edit: func(env *testEnv) {
				must(env.t, suite.client.Delete(context.Background(), env.current()))
				change(env, &v1alpha1.PluginBinding{}, bindingName, func(b *v1alpha1.PluginBinding) { b.Finalizers = nil })
				env.create(env.binding(bindingName))
			},
			over: (*testEnv).bindingsReady,
		},
	} {
		t.Run(plan.name, func(t *testing.T) {
			t.Parallel()
			total.count(t, "changed while down")
			env := newTestEnv(t, timeout)
			env.kong.Seed("services", map[string]any{"name": "invoices", "url": "http://127.0.0.1:9"})
			env.unmanagedRows = env.unmanaged()
			env.startEmpty()
			r := env.kongProxy.addRule(onCreate(afterResponse(env.main.kill)))
			env.create(env.binding(bindingName))
			env.waitForFault(r)
			<-env.main.process().exited
			plan.edit(env)
			env.main.start(suite.manager)
			env.eventually("the end", func() error { return plan.over(env) })
			env.finish()
		})
	}
}
