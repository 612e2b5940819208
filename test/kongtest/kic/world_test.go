package kic

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// world is a KIC without an API server: the test changes its objects and makes it tick.
type world struct {
	t    *testing.T
	srv  *kongtest.Server
	kic  *KIC
	seen *objects
	uids map[string]string // by kind and name; empty: the name
}

func newWorld(t *testing.T, files ...string) *world {
	t.Helper()
	w := &world{t: t, srv: kongtest.Start(t), seen: &objects{}, uids: map[string]string{}}
	w.kic = &KIC{
		options: Options{AdminURL: w.srv.URL()}.withDefaults(),
		admin:   &admin{w.srv.URL(), http.DefaultClient},
		events:  &events{recorder: record.NewFakeRecorder(1000), scheme: newScheme()},
	}
	w.kic.look = func(context.Context) (*objects, error) { return w.stamped(), nil }
	for _, file := range files {
		w.add(file)
	}
	return w
}

// add adds the objects of a file of testdata.
func (w *world) add(file string) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(b), "\n---\n") {
		w.apply(doc)
	}
}

// apply adds an object, or replaces the one of its kind and name.
func (w *world) apply(manifest string) {
	w.t.Helper()
	var kind metav1.TypeMeta
	w.parse(manifest, &kind)
	switch kind.Kind {
	case "Service":
		put(w, &w.seen.services, manifest)
	case "EndpointSlice":
		put(w, &w.seen.slices, manifest)
	case "Secret":
		put(w, &w.seen.secrets, manifest)
		for i := range w.seen.secrets {
			for name, value := range w.seen.secrets[i].StringData {
				if w.seen.secrets[i].Data == nil {
					w.seen.secrets[i].Data = map[string][]byte{}
				}
				w.seen.secrets[i].Data[name] = []byte(value)
			}
		}
	case "Ingress":
		put(w, &w.seen.ingresses, manifest)
	case "HTTPRoute":
		put(w, &w.seen.httpRoutes, manifest)
	case "KongPlugin":
		put(w, &w.seen.plugins, manifest)
	case "KongClusterPlugin":
		put(w, &w.seen.clusterPlugins, manifest)
	case "KongConsumer":
		put(w, &w.seen.consumers, manifest)
	default:
		w.t.Fatalf("unknown kind in %q", manifest)
	}
}

func (w *world) parse(manifest string, into any) {
	w.t.Helper()
	if err := yaml.Unmarshal([]byte(manifest), into); err != nil {
		w.t.Fatalf("%v in %s", err, manifest)
	}
}

func put[T any, P interface {
	*T
	metav1.Object
}](w *world, all *[]T, manifest string) {
	w.t.Helper()
	var o T
	w.parse(manifest, &o)
	*all = slices.DeleteFunc(*all, func(other T) bool {
		return P(&other).GetName() == P(&o).GetName() && P(&other).GetNamespace() == P(&o).GetNamespace()
	})
	*all = append(*all, o)
}

func (w *world) ingress(name string) *networkingv1.Ingress {
	return found(w, of(w.seen.ingresses, "shop", name))
}

func (w *world) service(name string) *corev1.Service {
	return found(w, of(w.seen.services, "shop", name))
}

func (w *world) slice(name string) *discoveryv1.EndpointSlice {
	return found(w, of(w.seen.slices, "shop", name))
}

func (w *world) httpRoute(name string) *gatewayv1.HTTPRoute {
	return found(w, of(w.seen.httpRoutes, "shop", name))
}

func (w *world) plugin(name string) *kongPlugin { return found(w, of(w.seen.plugins, "shop", name)) }

func found[T any](w *world, o *T) *T {
	w.t.Helper()
	if o == nil {
		w.t.Fatal("the object of this name is missing")
	}
	return o
}

func (w *world) deleteIngress(name string) {
	w.seen.ingresses = slices.DeleteFunc(w.seen.ingresses, func(in networkingv1.Ingress) bool { return in.Name == name })
}

// attach sets the annotation konghq.com/plugins.
func attach(o metav1.Object, plugins string) {
	o.SetAnnotations(map[string]string{
		"konghq.com/plugins": plugins, "konghq.com/strip-path": o.GetAnnotations()["konghq.com/strip-path"],
	})
}

// stamped are the objects with their UIDs.
func (w *world) stamped() *objects {
	o := *w.seen
	stamp(w, o.services, "Service")
	stamp(w, o.ingresses, "Ingress")
	stamp(w, o.httpRoutes, "HTTPRoute")
	stamp(w, o.plugins, "KongPlugin")
	stamp(w, o.clusterPlugins, "KongClusterPlugin")
	stamp(w, o.consumers, "KongConsumer")
	return &o
}

func stamp[T any, P interface {
	*T
	metav1.Object
}](w *world, all []T, kind string) {
	for i := range all {
		o := P(&all[i])
		uid := w.uids[kind+"/"+o.GetName()]
		if uid == "" {
			uid = o.GetName()
		}
		o.SetUID(types.UID(uid))
	}
}

// tick makes KIC tick once.
func (w *world) tick() error {
	w.t.Helper()
	return w.kic.tick(w.t.Context())
}

// settle makes KIC tick and fails if that fails.
func (w *world) settle() {
	w.t.Helper()
	if err := w.tick(); err != nil {
		w.t.Fatalf("tick: %v", err)
	}
}
