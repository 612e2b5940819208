// Package cli is what all commands have in common: the way to the API server, the output for people
// and for machines, exit codes and progress.
//
// It may import the API, the version and the libraries of Kubernetes. It does not know Kong; package
// kong does.
package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/resource"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/internal/version"
)

// Name is how people call the plugin.
const Name = "kubectl pluginbinding"

// UserAgent is what the plugin calls itself to the API server and to Kong.
const UserAgent = "kubectl-pluginbinding"

const (
	defaultTimeout = 5 * time.Minute
	// completionTimeout bounds how long a shell waits for names.
	completionTimeout = 3 * time.Second
	// requestTimeout bounds a request to the API server if --request-timeout does not.
	requestTimeout = 30 * time.Second
)

// Scheme has the kinds of Kubernetes and of the operator.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// Factory is what a command needs from the command line and the machine around it.
type Factory struct {
	genericiooptions.IOStreams
	// Flags are those of kubectl: kubeconfig, context, namespace, impersonation and so on.
	Flags *genericclioptions.ConfigFlags
	// KongURL is --kong-url: where Kong's Admin API is, whatever the KongGateway says.
	KongURL string
	// Timeout is how long a command may take, unless it says otherwise.
	Timeout time.Duration

	mu      sync.Mutex
	client  client.WithWatch
	notes   map[string]bool
	running context.Context //nolint:containedctx // to say afterwards why it ended
}

// NewFactory returns a Factory with the flags' defaults.
func NewFactory(streams genericiooptions.IOStreams) *Factory {
	return &Factory{
		IOStreams: streams,
		Flags:     genericclioptions.NewConfigFlags(true).WithDiscoveryBurst(300).WithDiscoveryQPS(50),
		Timeout:   defaultTimeout,
		notes:     map[string]bool{},
	}
}

// AddFlags adds the flags of all commands.
func (f *Factory) AddFlags(flags *pflag.FlagSet) {
	f.Flags.AddFlags(flags)
	flags.StringVar(&f.KongURL, "kong-url", "", "URL of Kong's Admin API as it is reached from here, instead of the adminURL of the KongGateway")
	flags.DurationVar(&f.Timeout, "timeout", f.Timeout, "How long the command may take")
}

// Context is the context of one run of a command: it ends after --timeout.
func (f *Factory) Context(command *cobra.Command) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(command.Context(), f.Timeout, &TimeoutError{After: f.Timeout})
	f.running = ctx
	return ctx, cancel
}

// TimeoutError is why a command ended that took longer than --timeout.
type TimeoutError struct{ After time.Duration }

// Error implements error.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("not done within %s: set --timeout to more", e.After)
}

// Explain says of the error of a command what the libraries do not: that --timeout ended it, or that the
// operator's kinds are not there.
func (f *Factory) Explain(err error) error {
	var missing *meta.NoKindMatchError
	if errors.As(err, &missing) && missing.GroupKind.Group == v1alpha1.GroupVersion.Group {
		return fmt.Errorf("this cluster does not have the CustomResourceDefinitions of the operator, or not those of its version: %w", err)
	}
	if err == nil || f.running == nil {
		return err
	}
	var timeout, known *TimeoutError
	var exit *ExitError
	if !errors.As(context.Cause(f.running), &timeout) || errors.As(err, &known) || errors.As(err, &exit) {
		return err
	}
	return fmt.Errorf("%w: %w", timeout, err)
}

// RESTConfig returns the configuration for clients of the API server.
func (f *Factory) RESTConfig() (*rest.Config, error) {
	config, err := f.Flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.UserAgent = UserAgent + "/" + version.String()
	config.QPS = -1 // the API server limits by priority and fairness
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	return config, nil
}

// Client returns the client of the API server, always the same. It reads without a cache.
func (f *Factory) Client() (client.WithWatch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		return f.client, nil
	}
	config, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	mapper, err := f.Flags.ToRESTMapper()
	if err != nil {
		return nil, err
	}
	f.client, err = client.NewWithWatch(config, client.Options{Scheme: Scheme, Mapper: mapper})
	return f.client, err
}

// Mapper returns the mapper between kinds and resources.
func (f *Factory) Mapper() (meta.RESTMapper, error) { return f.Flags.ToRESTMapper() }

// Builder returns a builder of objects from files and arguments.
func (f *Factory) Builder() *resource.Builder { return resource.NewBuilder(f.Flags) }

// Namespace returns the namespace of the command line or of the kubeconfig, and whether the command
// line named it.
func (f *Factory) Namespace() (namespace string, named bool, err error) {
	return f.Flags.ToRawKubeConfigLoader().Namespace()
}

// Notef tells people something beside the output, once.
func (f *Factory) Notef(format string, args ...any) {
	text := Printable(fmt.Sprintf(format, args...))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.notes[text] {
		return
	}
	f.notes[text] = true
	fmt.Fprintln(f.ErrOut, "note: "+text)
}
