// Package kong is the way from this machine to the Kong of a KongGateway: directly, through the API
// server's proxy, or through a port-forward.
//
// It is the only package of the command that knows HTTP. What to say to Kong is internal/adminapi's.
package kong

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/connection"
	"github.com/pluginbinding/kong-plugin-operator/internal/version"
)

// Connection is one Kong that has answered.
type Connection struct {
	*adminapi.Client
	// Info is what the Kong said of itself.
	Info adminapi.Info
	// Settings are those that the Client was made of, with their secrets.
	Settings adminapi.Settings
	// Gateway is the KongGateway that led here.
	Gateway *v1alpha1.KongGateway

	forward *forward
}

// Close closes what is open.
func (c *Connection) Close() {
	c.Client.Close()
	if c.forward != nil {
		c.forward.close()
	}
}

// Open connects to the Kong of a KongGateway and asks it who it is. The gateway need not exist in the
// cluster; its Secrets have to.
func Open(ctx context.Context, f *cli.Factory, gateway *v1alpha1.KongGateway) (*Connection, error) {
	return open(ctx, f, gateway, nil)
}

// OpenReadOnly is Open for a connection that refuses to send whatever could change something in Kong.
func OpenReadOnly(ctx context.Context, f *cli.Factory, gateway *v1alpha1.KongGateway) (*Connection, error) {
	return open(ctx, f, gateway, func(next http.RoundTripper) http.RoundTripper { return readOnly{next} })
}

func open(ctx context.Context, f *cli.Factory, gateway *v1alpha1.KongGateway, wrap func(http.RoundTripper) http.RoundTripper) (*Connection, error) {
	reader, err := f.Client()
	if err != nil {
		return nil, err
	}
	settings, err := settingsOf(ctx, f, reader, gateway)
	if err != nil {
		return nil, err
	}
	c := &Connection{Settings: settings, Gateway: gateway}
	if f.KongURL != "" {
		c.Settings.AdminURL = f.KongURL
		if !strings.HasPrefix(f.KongURL, "https:") {
			// Without TLS, as the user says. The gateway's settings for it would be refused.
			c.Settings.CA, c.Settings.ClientCert, c.Settings.ClientKey = nil, nil, nil
			c.Settings.ServerName, c.Settings.InsecureSkipVerify = "", false
		}
	} else if err := c.route(ctx, f, reader); err != nil {
		return nil, err
	}
	c.wrap(wrap)
	if c.Client, err = adminapi.New(c.Settings, nil); err != nil {
		return nil, fmt.Errorf("KongGateway %s: %w", c.Settings.Name, err)
	}
	if c.Info, err = c.Probe(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("the Kong of KongGateway %s cannot be used: %w", c.Settings.Name, err)
	}
	return c, nil
}

// wrap puts a transport around the one that was chosen.
func (c *Connection) wrap(outer func(http.RoundTripper) http.RoundTripper) {
	inner := c.Settings.Transport
	if outer == nil {
		return
	}
	c.Settings.Transport = func(next http.RoundTripper) http.RoundTripper {
		if inner != nil {
			next = inner(next)
		}
		return outer(next)
	}
}

// readOnly sends only what changes nothing in Kong.
type readOnly struct{ next http.RoundTripper }

// validatePath is where Kong's schema is asked about a plugin, with a POST.
const validatePath = "/schemas/plugins/validate"

// RoundTrip implements http.RoundTripper.
func (r readOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	validates := req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, validatePath)
	if req.Method != http.MethodGet && req.Method != http.MethodHead && !validates {
		return nil, fmt.Errorf("%s %s would change something in Kong, and was not sent", req.Method, req.URL.Path)
	}
	return r.next.RoundTrip(req)
}

// settingsOf returns the settings of the gateway with those of its Secrets that the user may read.
func settingsOf(ctx context.Context, f *cli.Factory, reader client.Reader, gateway *v1alpha1.KongGateway) (adminapi.Settings, error) {
	get := func(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
		secret := &corev1.Secret{}
		return secret, reader.Get(ctx, key, secret)
	}
	readable := gateway.DeepCopy()
	if err := dropUnreadable(ctx, f, get, readable); err != nil {
		return adminapi.Settings{}, err
	}
	settings, err := connection.SettingsReader{Secret: get}.Settings(ctx, readable)
	if err != nil {
		return settings, fmt.Errorf("KongGateway %s/%s: %w", gateway.Namespace, gateway.Name, err)
	}
	settings.UserAgent = cli.UserAgent + "/" + version.String()
	return settings, nil
}

// dropUnreadable removes the references to Secrets that the user may not read, and says so.
func dropUnreadable(ctx context.Context, f *cli.Factory, get func(context.Context, types.NamespacedName) (*corev1.Secret, error), gateway *v1alpha1.KongGateway) error {
	unreadable := func(name, what string) (bool, error) {
		_, err := get(ctx, types.NamespacedName{Namespace: gateway.Namespace, Name: name})
		if !apierrors.IsForbidden(err) {
			return false, client.IgnoreNotFound(err)
		}
		f.Notef("you may not read Secret %s in namespace %s; %s connects to Kong without %s. To use it, get the right to read this Secret",
			name, gateway.Namespace, cli.Name, what)
		return true, nil
	}
	if auth := gateway.Spec.Auth; auth != nil {
		drop, err := unreadable(auth.TokenSecretRef.Name, "the token in spec.auth")
		if err != nil {
			return err
		}
		if drop {
			gateway.Spec.Auth = nil
		}
	}
	tls := gateway.Spec.TLS
	if tls == nil {
		return nil
	}
	if tls.CASecretRef != nil {
		drop, err := unreadable(tls.CASecretRef.Name, "the authorities in spec.tls.caSecretRef")
		if err != nil {
			return err
		}
		if drop {
			tls.CASecretRef = nil
		}
	}
	if tls.ClientCertSecretRef != nil {
		drop, err := unreadable(tls.ClientCertSecretRef.Name, "the client certificate in spec.tls.clientCertSecretRef")
		if err != nil {
			return err
		}
		if drop {
			tls.ClientCertSecretRef = nil
		}
	}
	return nil
}

// route chooses the way to the Kong.
func (c *Connection) route(ctx context.Context, f *cli.Factory, reader client.Reader) error {
	u, err := url.Parse(c.Settings.AdminURL)
	if err != nil {
		return nil //nolint:nilerr // adminapi.New says what is wrong with the URL
	}
	service, found, err := findService(ctx, reader, u)
	if err != nil || !found {
		return err
	}
	config, err := f.RESTConfig()
	if err != nil {
		return err
	}
	config.Timeout = 0 // each request has the deadline of the Admin API
	c.forward = newForward(f, config, reader, service)
	c.Settings.Dial = c.forward.dial
	if reason := c.notThroughProxy(u); reason != "" {
		return nil
	}
	proxy, err := newProxy(config, service, u)
	if err != nil {
		return err
	}
	c.Settings.Transport = proxy.wrap
	return nil
}

// notThroughProxy says why the API server's proxy cannot carry the connection, "" if it can.
func (c *Connection) notThroughProxy(u *url.URL) string {
	header := cmp.Or(c.Settings.TokenHeader, adminapi.DefaultTokenHeader)
	switch {
	case len(c.Settings.ClientCert) > 0:
		return "it has no client certificate for Kong"
	case c.Settings.Token != "" && !passesProxy(header):
		return "it does not pass on the header " + header
	case u.Scheme == "https" && !c.Settings.InsecureSkipVerify:
		return "it does not verify Kong's certificate"
	default:
		return ""
	}
}
