package main

import (
	"context"
	"fmt"
)

// keep applies the samples and leaves everything running until the user stops it.
func keep(ctx context.Context, s *environment) error {
	t := newWalkthrough(s)
	s.out.step("The operator creates the plugins of bindings and records their IDs")
	if err := t.applyBindings(ctx); err != nil {
		return err
	}
	s.out.step("Your turn")
	s.out.sayf("%s", s.guide())
	select {
	case <-ctx.Done():
		s.out.sayf("Stopping.")
		return nil
	case <-s.operator.exited:
		return fmt.Errorf("%w; its log ends with\n%s", s.operator.unexpectedExit(), s.operator.tail())
	}
}

// guide explains how to use what is running.
func (s *environment) guide() string {
	return fmt.Sprintf(`Everything keeps running until Ctrl-C, and is then removed.
The operator's log: %[1]s

In another terminal:

  export KUBECONFIG=%[2]s
  export PATH=%[3]s:$PATH   # for kubectl
  export KONG=%[4]s

  kubectl get kong -A
  kubectl describe pluginbinding -n kong-demo orders-rate-limit
  kubectl explain pluginbinding.spec

  # change a binding: the plugin changes, its ID does not
  kubectl patch pluginbinding -n kong-demo orders-rate-limit --type=merge -p '{"spec":{"config":{"minute":30}}}'

  # delete the plugin in Kong: within ten seconds it is back with the same ID
  ID=$(kubectl get pluginbinding -n kong-demo orders-rate-limit -o jsonpath={.status.pluginID})
  curl -i -X DELETE $KONG/plugins/$ID
  curl -s $KONG/plugins/$ID

  # delete the binding: the operator deletes its plugin
  kubectl delete pluginbinding -n kong-demo orders-rate-limit
`, s.operator.logFile, s.cluster.kubeconfig, s.assets, s.kong.url)
}
