package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
)

// options are the operator's options, from flags and from the environment.
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
	allowedAdminHosts    []string
	enableWebhooks       bool
	webhookPort          int
	webhookCertDir       string
	webhookName          string
	zap                  zap.Options
}

// defaultCertDir is where OLM mounts the certificate.
const defaultCertDir = "/tmp/k8s-webhook-server/serving-certs"

const envPrefix = "KONG_OPERATOR_"

// clusterIDPattern restricts a cluster ID to what is valid in tags and in instance names. There a
// dot separates it from the namespace.
var clusterIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// parseOptions parses the flags. If a flag is not given, its environment variable applies.
// parseOptions prints the help and returns flag.ErrHelp, or prints any other error and returns it.
func parseOptions(args []string, getenv func(string) string, out io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "`address` of the metrics endpoint, such as :8443; 0 disables it")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true, "serve metrics over HTTPS, only to clients that the API server authenticates and authorizes")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "`address` of /healthz and /readyz; 0 disables them")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "", "`address` of the pprof endpoint, such as 127.0.0.1:6060; empty disables it")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "use leader election, so that only one of several replicas is active")
	flags.StringVar(&o.leaderElectNamespace, "leader-election-namespace", "", "`namespace` of the lease (default: the namespace of the pod)")
	flags.StringVar(&o.clusterID, "cluster-id", "", "cluster `id` in the ownership tags of plugins in Kong: letters, digits, '-' and '_' (default: the UID of namespace kube-system). Keep it when you rebuild a cluster, so that the operator finds its plugins again. If it is set, the operator removes orphaned plugins from Kong: those with this ID that belong to no binding, and are not older than the cluster")
	namespaces := flags.String("watch-namespaces", "", "`namespaces` to watch, separated by commas (default: all)")
	selector := flags.String("selector", "", "label `selector`: the operator manages only KongGateways and PluginBindings with these labels. Several operators can share a fleet in this way; each has its own lease. A binding needs the same labels as its gateway")
	hosts := flags.String("allowed-admin-hosts", "", "`hosts` to which the adminURL of a KongGateway may lead, separated by commas: a host name, *.domain, an IP address (each also with :port), or a CIDR (default: all). It applies to the addresses after DNS too")
	flags.IntVar(&o.workers, "max-concurrent-reconciles", 8, "`number` of bindings of one gateway to reconcile at the same time")
	flags.BoolVar(&o.enableWebhooks, "enable-webhooks", false, "serve validating webhooks, which refuse a PluginBinding or a PluginPolicy whose config Kong refuses")
	flags.IntVar(&o.webhookPort, "webhook-port", 9443, "`port` of the webhooks")
	flags.StringVar(&o.webhookCertDir, "webhook-cert-dir", defaultCertDir, "`directory` with the certificate of the webhooks, as tls.crt and tls.key")
	flags.StringVar(&o.webhookName, "webhook-name", "", "`name` of the Secret, the Service and the ValidatingWebhookConfiguration of the webhooks: the operator keeps a certificate in the Secret and its authority in the configuration (default: something else does, such as OLM or cert-manager)")
	ctrlconfig.RegisterFlags(flags)
	o.zap.BindFlags(flags)
	flags.Usage = func() {
		fmt.Fprintf(out, "manager keeps the plugins that PluginBindings declare in the Kong gateways that KongGateways name.\n\nEvery flag has an environment variable, such as %sCLUSTER_ID for --cluster-id. The command line takes precedence.\n\n", envPrefix)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	err := fromEnvironment(flags, getenv)
	if err == nil {
		o.namespaces, o.allowedAdminHosts = splitList(*namespaces), splitList(*hosts)
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

// fromEnvironment sets the flags that the command line does not set.
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
	case o.webhookName != "" && !o.enableWebhooks:
		return errors.New("--webhook-name: needs --enable-webhooks")
	case o.webhookPort < 1 || o.webhookPort > math.MaxUint16:
		return fmt.Errorf("--webhook-port %d: must be from 1 to %d", o.webhookPort, math.MaxUint16)
	case o.workers < 1:
		return fmt.Errorf("--max-concurrent-reconciles %d: must be at least 1", o.workers)
	}
	if err := adminapi.ValidateAllowedHosts(o.allowedAdminHosts); err != nil {
		return fmt.Errorf("--allowed-admin-hosts: %w", err)
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

// splitList returns the elements, sorted and without duplicates.
func splitList(list string) []string {
	var elements []string
	for element := range strings.SplitSeq(list, ",") {
		if element = strings.TrimSpace(element); element != "" {
			elements = append(elements, element)
		}
	}
	slices.Sort(elements)
	return slices.Compact(elements)
}

// leaseName returns the name of the lease. It does not depend on the namespaces: while a rollout
// changes them, the old and the new replicas must not both lead. Operators with different selectors
// share a fleet, and have different leases even if they run in the same namespace.
func (o *options) leaseName() string {
	const name = "kong-plugin-operator.pluginbinding.io"
	if o.selector.Empty() {
		return name
	}
	return digest(o.selector.String()) + "." + name
}

// watches is a digest of what the operator watches, for the label of the lease.
func (o *options) watches() string {
	return digest(strings.Join(o.namespaces, ",") + ";" + o.selector.String())
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// exitOf returns the exit code for an error of parseOptions. A request for help is not an error.
func exitOf(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	return 2
}
