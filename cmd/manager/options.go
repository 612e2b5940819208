package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// options of the operator, from flags and from the environment.
type options struct {
	metricsAddress       string
	metricsSecure        bool
	probeAddress         string
	pprofAddress         string
	leaderElect          bool
	leaderElectNamespace string
	clusterID            string
	namespaces           []string
	selector             labels.Selector
	workers              int
	zap                  zap.Options
}

const envPrefix = "KONG_OPERATOR_"

// clusterIDPattern keeps a cluster id usable in tags and in instance names, where a dot
// separates it from the namespace.
var clusterIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// parseOptions reads flags; a flag that is not given is taken from its environment
// variable. It returns flag.ErrHelp after printing the help, and other errors after
// printing them.
func parseOptions(args []string, getenv func(string) string, out io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "`address` of the metrics, such as :8443; 0 turns them off")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true, "serve metrics over HTTPS, to those whom the API server authenticates and authorizes")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "`address` of /healthz and /readyz; 0 turns them off")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "", "`address` of Go's profiles, such as 127.0.0.1:6060; they are off without it")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "let only one of several replicas work at a time")
	flags.StringVar(&o.leaderElectNamespace, "leader-election-namespace", "", "`namespace` of the lease; the pod's own by default")
	flags.StringVar(&o.clusterID, "cluster-id", "", "`id` that marks this cluster's plugins in Kong: letters, digits, '-' and '_'; the UID of the namespace kube-system by default. Keep it when a cluster is rebuilt, and its plugins are found again. When it is set, plugins that bear it and belong to no binding are removed from Kong, except those that are older than the cluster")
	namespaces := flags.String("watch-namespaces", "", "`namespaces` to watch, separated by commas; all by default")
	selector := flags.String("selector", "", "label `selector`: only KongGateways and PluginBindings with these labels are this operator's, so that several share a fleet; each has a lease of its own. A binding bears its gateway's labels")
	flags.IntVar(&o.workers, "max-concurrent-reconciles", 8, "`number` of bindings that are reconciled at the same time")
	ctrlconfig.RegisterFlags(flags)
	o.zap.BindFlags(flags)
	flags.Usage = func() {
		fmt.Fprintf(out, "manager keeps the plugins that PluginBindings declare in the Kongs that KongGateways name.\n\nEvery flag can be given in the environment: --cluster-id as %sCLUSTER_ID. The command line wins.\n\n", envPrefix)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	err := fromEnvironment(flags, getenv)
	if err == nil {
		o.namespaces = splitNamespaces(*namespaces)
		o.selector, err = parseSelector(*selector)
	}
	if err == nil {
		err = o.check(flags.Args())
	}
	if err != nil {
		fmt.Fprintln(out, "manager:", err)
		return nil, err
	}
	return o, nil
}

// fromEnvironment sets the flags that the command line did not.
func fromEnvironment(flags *flag.FlagSet, getenv func(string) string) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var problems []error
	flags.VisitAll(func(f *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(name)
		if value == "" || given[f.Name] {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	})
	return errors.Join(problems...)
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.clusterID != "" && !clusterIDPattern.MatchString(o.clusterID):
		return fmt.Errorf("--cluster-id %q: use up to 63 letters, digits, '-' and '_', starting with a letter or a digit", o.clusterID)
	case o.workers < 1:
		return fmt.Errorf("--max-concurrent-reconciles %d: at least 1", o.workers)
	}
	return nil
}

func parseSelector(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--selector %q: %w", text, err)
	}
	return selector, nil
}

// splitNamespaces returns the names sorted, each once.
func splitNamespaces(list string) []string {
	var namespaces []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			namespaces = append(namespaces, name)
		}
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// leaseName is the name of the lease. Operators that watch different things lead at the
// same time, also where they run in one namespace.
func (o *options) leaseName() string {
	const name = "kong-plugin-operator.pluginbinding.io"
	if len(o.namespaces) == 0 && o.selector.Empty() {
		return name
	}
	share := sha256.Sum256([]byte(strings.Join(o.namespaces, ",") + ";" + o.selector.String()))
	return hex.EncodeToString(share[:4]) + "." + name
}

// exitOf is the exit code for an error of parseOptions: asking for help is none.
func exitOf(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	return 2
}
