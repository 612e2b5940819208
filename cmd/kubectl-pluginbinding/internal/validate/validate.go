// Package validate checks the configs of bindings and policies against the live schema of their Kong.
//
// It asks Kong and writes nothing. How a config is made, and what of a refusal may be shown, is
// internal/plugin's.
package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/cli"
	"github.com/pluginbinding/kong-plugin-operator/cmd/kubectl-pluginbinding/internal/kong"
	"github.com/pluginbinding/kong-plugin-operator/internal/adminapi"
	"github.com/pluginbinding/kong-plugin-operator/internal/plugin"
	"github.com/pluginbinding/kong-plugin-operator/internal/reference"
)

const long = `Check the configs of PluginBindings and PluginPolicies against the schema of their Kong, as it runs now.

A finding names the field of the object and the line of the file. Values from Secrets are checked if you
may read these, and never shown; what you may not read is said and left out.

Exit codes: 0 no findings, 1 findings or an error.`

const example = `  # Before a commit
  kubectl pluginbinding validate -f bindings/ -R`

// Finding is one problem.
type Finding struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Kind      string `json:"objectKind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Field of the object, such as spec.config.minute.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Validation is what -o json prints.
type Validation struct {
	Findings []Finding `json:"findings"`
	// Checked is the number of objects.
	Checked int `json:"checked"`
	// Skipped are the parts that could not be checked, as sentences.
	Skipped []string `json:"skipped,omitempty"`
}

type options struct {
	factory *cli.Factory
	output  *cli.Output
	files   resource.FilenameOptions
}

// NewCommand returns the command validate.
func NewCommand(f *cli.Factory) *cobra.Command {
	o := &options{factory: f, output: cli.NewOutput()}
	command := &cobra.Command{
		Use: "validate -f FILE...", Short: "Check configs against the schema of their Kong", Long: long, Example: example,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.output.AddFlags(command)
	files := genericclioptions.FileNameFlags{
		Usage: "that has the objects", Filenames: &o.files.Filenames, Kustomize: &o.files.Kustomize, Recursive: &o.files.Recursive,
	}
	files.AddFlags(command.Flags())
	return command
}

func (o *options) run(command *cobra.Command) error {
	ctx, cancel := o.factory.Context(command)
	defer cancel()
	if err := o.files.RequireFilenameOrKustomize(); err != nil {
		return err
	}
	live, err := o.factory.Client()
	if err != nil {
		return err
	}
	namespace, named, err := o.factory.Namespace()
	if err != nil {
		return err
	}
	infos, err := o.factory.Builder().Unstructured().ContinueOnError().NamespaceParam(namespace).DefaultNamespace().
		FilenameParam(named, &o.files).Flatten().Do().Infos()
	if err != nil {
		return err
	}
	v := newValidator(o.factory, live)
	defer v.close()
	if err := v.validate(ctx, infos); err != nil {
		return err
	}
	if err := o.output.Print(o.factory, v.found.result()); err != nil {
		return err
	}
	if len(v.found.Findings) > 0 {
		return cli.ErrFindings
	}
	return nil
}

// validator is one run of the command.
type validator struct {
	factory *cli.Factory
	live    client.Client
	found   *Validation
	// given are the objects of the files that others refer to.
	given  map[string]client.Object
	opened map[types.NamespacedName]*kong.Connection
	failed map[types.NamespacedName]error
	lines  *lines
}

func newValidator(f *cli.Factory, live client.Client) *validator {
	return &validator{
		factory: f, live: live, found: &Validation{Findings: []Finding{}}, given: map[string]client.Object{},
		opened: map[types.NamespacedName]*kong.Connection{}, failed: map[types.NamespacedName]error{}, lines: newLines(),
	}
}

func (v *validator) close() {
	for _, c := range v.opened {
		c.Close()
	}
}

// subject is one config to check.
type subject struct {
	info *resource.Info
	kind string
	key  types.NamespacedName
	spec *v1alpha1.PluginBindingSpec
	// root is the path of spec in the object.
	root    string
	gateway types.NamespacedName
}

func (v *validator) validate(ctx context.Context, infos []*resource.Info) error {
	var subjects []subject
	for _, info := range infos {
		object, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		s, found, err := v.take(info, object)
		if err != nil {
			v.add(subject{info: info, kind: object.GetKind(), key: client.ObjectKeyFromObject(object)}, "", err.Error())
			continue
		}
		if found {
			subjects = append(subjects, s)
		}
	}
	progress := v.factory.NewProgress("validating", len(subjects))
	defer progress.Close()
	for _, s := range subjects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v.found.Checked++
		if err := v.check(ctx, s); err != nil {
			return err
		}
		progress.Step()
	}
	return nil
}

// take returns the config of an object, or keeps an object that others refer to.
func (v *validator) take(info *resource.Info, object *unstructured.Unstructured) (subject, bool, error) {
	s := subject{info: info, kind: object.GetKind(), key: client.ObjectKeyFromObject(object), root: "spec"}
	keep := func(to client.Object) (subject, bool, error) {
		v.given[s.kind+" "+s.key.String()] = to
		return s, false, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, to)
	}
	switch group := object.GroupVersionKind().GroupKind().String(); group {
	case "PluginBinding." + v1alpha1.GroupVersion.Group:
		binding := &v1alpha1.PluginBinding{}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, binding)
		s.spec, s.gateway = &binding.Spec, reference.GatewayOf(binding)
		return s, true, err
	case "PluginPolicy." + v1alpha1.GroupVersion.Group:
		policy := &v1alpha1.PluginPolicy{}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, policy)
		template := &policy.Spec.Template.Spec
		s.root, s.gateway = "spec.template.spec", reference.GatewayOfPolicy(policy)
		s.spec = &v1alpha1.PluginBindingSpec{
			Plugin: template.Plugin, Enabled: template.Enabled, Protocols: template.Protocols, Ordering: template.Ordering, Tags: template.Tags,
			Condition: template.Condition, Partials: template.Partials,
			Config: template.Config, ConfigFrom: template.ConfigFrom, ConfigPatches: template.ConfigPatches,
		}
		return s, true, err
	case "KongGateway." + v1alpha1.GroupVersion.Group:
		return keep(&v1alpha1.KongGateway{})
	case "Secret":
		return keep(&corev1.Secret{})
	case "ConfigMap":
		return keep(&corev1.ConfigMap{})
	default:
		return s, false, nil
	}
}

// check asks the Kong of one config about it.
func (v *validator) check(ctx context.Context, s subject) error {
	c, err := v.connect(ctx, s.gateway)
	if err != nil {
		v.add(s, "spec.gatewayRef", err.Error())
		return nil
	}
	if _, err := c.Schema(ctx, string(s.spec.Plugin)); adminapi.IsNotFound(err) {
		v.add(s, s.root+".plugin", fmt.Sprintf("the Kong of KongGateway %s has no plugin %q", s.gateway, s.spec.Plugin))
		return nil
	} else if err != nil {
		return err
	}
	rendered, skipped, ok, err := v.render(ctx, s)
	if err != nil || !ok {
		return err
	}
	v.judge(s, c.ValidateConfig(ctx, rendered.Plugin), rendered.Redactor, skipped)
	return nil
}

// judge turns Kong's refusal into findings.
func (v *validator) judge(s subject, err error, redactor *plugin.Redactor, skipped []string) {
	var refused *adminapi.Error
	switch {
	case err == nil:
		return
	case !errors.As(err, &refused) || refused.Reason != adminapi.Rejected:
		v.add(s, s.root, redactor.Redact(err.Error()))
		return
	case len(refused.Fields) == 0:
		_, text := redactor.RedactFieldError("", refused.Message)
		v.add(s, s.root+".config", text)
		return
	}
	for _, field := range refused.Fields {
		if isBelow(field.Path, skipped) {
			continue // its value was left out
		}
		path, text := redactor.RedactFieldError(field.Path, field.Message)
		v.add(s, fieldOf(s.root, path), text)
	}
}

// isBelow reports whether a field belongs to a part of the config that was left out. Kong also
// complains about the whole entity then, which says nothing.
func isBelow(path string, skipped []string) bool {
	for _, part := range skipped {
		if path == "" || path == part || strings.HasPrefix(path, part+".") || strings.HasPrefix(path, part+"[") || strings.HasPrefix(part, path+".") {
			return true
		}
	}
	return false
}

// fieldOf is the field of the object for one of Kong's.
func fieldOf(root, path string) string {
	switch path {
	case "":
		return root
	case "instance_name":
		return root + ".instanceName"
	default:
		return root + "." + path
	}
}

func (v *validator) add(s subject, field, message string) {
	f := Finding{Kind: s.kind, Namespace: s.key.Namespace, Name: s.key.Name, Field: field, Message: message}
	if s.info != nil {
		f.File, f.Line = v.lines.of(s.info.Source, s.kind, s.key, field)
	}
	v.found.Findings = append(v.found.Findings, f)
}

// connect opens the Kong of a gateway, once.
func (v *validator) connect(ctx context.Context, key types.NamespacedName) (*kong.Connection, error) {
	if c := v.opened[key]; c != nil {
		return c, nil
	}
	if err := v.failed[key]; err != nil {
		return nil, err
	}
	gateway, ok := v.given["KongGateway "+key.String()].(*v1alpha1.KongGateway)
	var err error
	if !ok {
		gateway = &v1alpha1.KongGateway{}
		err = v.live.Get(ctx, key, gateway)
	}
	var c *kong.Connection
	if err == nil {
		c, err = kong.OpenReadOnly(ctx, v.factory, gateway)
	}
	if err != nil {
		v.failed[key] = fmt.Errorf("KongGateway %s: %w", key, err)
		return nil, v.failed[key]
	}
	v.opened[key] = c
	return c, nil
}

// object returns a Secret or a ConfigMap: from the files, or else from the cluster.
func object[T client.Object](ctx context.Context, v *validator, kind string, key types.NamespacedName, empty T) (T, error) {
	if given, ok := v.given[kind+" "+key.String()].(T); ok {
		return given, nil
	}
	return empty, v.live.Get(ctx, key, empty)
}

func (v *validator) getSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret, err := object(ctx, v, "Secret", key, &corev1.Secret{})
	if err != nil || len(secret.StringData) == 0 {
		return secret, err
	}
	secret = secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for name, text := range secret.StringData {
		secret.Data[name] = []byte(text)
	}
	return secret, nil
}

func (v *validator) getConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	return object(ctx, v, "ConfigMap", key, &corev1.ConfigMap{})
}

// skip says that a part was not checked.
func (v *validator) skip(s subject, what string, err error) {
	reason := err.Error()
	if apierrors.IsForbidden(err) {
		reason = "you may not read it"
	}
	text := fmt.Sprintf("%s %s: %s was not checked: %s", s.kind, s.key, what, reason)
	v.found.Skipped = append(v.found.Skipped, text)
	v.factory.Notef("%s", text)
}

// result is the validation for the printers.
func (v *Validation) result() *cli.Result {
	result := &cli.Result{
		Kind: "Validation", Value: v, Empty: fmt.Sprintf("%d objects checked, no findings.", v.Checked),
		Columns: []cli.Column{{Name: "Where"}, {Name: "Object"}, {Name: "Field"}, {Name: "Problem"}},
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		where := f.File
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		object := f.Namespace + " " + strings.ToLower(f.Kind) + "/" + f.Name
		result.Rows = append(result.Rows, cli.Row{Level: cli.Bad, Cells: []any{where, object, f.Field, f.Message}})
		result.Names = append(result.Names, strings.ToLower(f.Kind)+"."+v1alpha1.GroupVersion.Group+"/"+f.Name)
	}
	return result
}
