package main

import (
	"context"
	"fmt"
)

// keep applies the samples and leaves everything running until somebody ends it.
func keep(ctx context.Context, s *environment) error {
	t := newWalkthrough(s)
	s.out.step("Bindings become plugins, and show their IDs")
	if err := t.applyBindings(ctx); err != nil {
		return err
	}
	s.out.step("Now you")
	s.out.sayf("%s", s.guide())
	select {
	case <-ctx.Done():
		s.out.sayf("Stopping.")
		return nil
	case <-s.operator.exited:
		return fmt.Errorf("%w; its log ends with\n%s", s.operator.unexpectedExit(), s.operator.tail())
	}
}

// guide says how to use what is running.
func (s *environment) guide() string {
	return fmt.Sprintf(`Everything stays up until Ctrl-C, and then goes, with what is in it.
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

  # delete the plugin behind the operator's back: within ten seconds it is back under its ID
  ID=$(kubectl get pluginbinding -n kong-demo orders-rate-limit -o jsonpath={.status.pluginID})
  curl -i -X DELETE $KONG/plugins/$ID
  curl -s $KONG/plugins/$ID

  # delete the binding: its plugin goes with it
  kubectl delete pluginbinding -n kong-demo orders-rate-limit
`, s.operator.logFile, s.cluster.kubeconfig, s.assets, s.kong.url)
}
