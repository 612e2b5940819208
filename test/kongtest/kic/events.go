package kic

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/reference"
)

// Reasons of KIC's events.
const (
	// ReasonApplyFailed: Kong refused a write. On KIC's pod and on the object of the row.
	ReasonApplyFailed = "KongConfigurationApplyFailed"
	// ReasonTranslationFailed: an object cannot be translated. On that object.
	ReasonTranslationFailed = "KongConfigurationTranslationFailed"
	// ReasonSucceeded: a sync succeeded. On KIC's pod.
	ReasonSucceeded = "KongConfigurationSucceeded"
)

// PodName is the name of KIC's pod in events.
const PodName = "kic"

// events writes KIC's events.
type events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	scheme      *runtime.Scheme
	pod         *corev1.ObjectReference
	url         string
}

func newEvents(config *rest.Config, scheme *runtime.Scheme, o Options) (*events, error) {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	b := record.NewBroadcaster()
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.CoreV1().Events("")})
	return &events{
		broadcaster: b, recorder: b.NewRecorder(scheme, corev1.EventSource{Component: "kong-client"}), scheme: scheme, url: o.AdminURL,
		pod: &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: o.Namespace, Name: PodName},
	}, nil
}

func (e *events) close() { e.broadcaster.Shutdown() }

func (e *events) succeeded() {
	e.recorder.Eventf(e.pod, corev1.EventTypeNormal, ReasonSucceeded, "successfully applied Kong configuration to %s", e.url)
}

func (e *events) applyFailed(err error) {
	e.recorder.Eventf(e.pod, corev1.EventTypeWarning, ReasonApplyFailed, "failed to apply Kong configuration to %s: %v", e.url, err)
	var failed *rowError
	if !errors.As(err, &failed) {
		return
	}
	if object := objectOf(failed.row); object != nil {
		e.recorder.Event(object, corev1.EventTypeWarning, ReasonApplyFailed, fmt.Sprintf("invalid %s: %v", failed.kind, failed.err))
	}
}

func (e *events) translationFailed(f failure) {
	object, err := reference.GetReference(e.scheme, f.object)
	if err != nil {
		return // the kinds of failures have a group and version
	}
	e.recorder.Event(object, corev1.EventTypeWarning, ReasonTranslationFailed, f.message)
}

// objectOf is the object of a row, by its tags.
func objectOf(r row) *corev1.ObjectReference {
	value := map[string]string{}
	tagList, _ := r["tags"].([]any)
	for _, tag := range tagList {
		if name, v, found := strings.Cut(text(tag), ":"); found {
			value[name] = v
		}
	}
	if value["k8s-name"] == "" {
		return nil
	}
	version := value["k8s-version"]
	if group := value["k8s-group"]; group != "" {
		version = group + "/" + version
	}
	ref := &corev1.ObjectReference{APIVersion: version, Kind: value["k8s-kind"], Namespace: value["k8s-namespace"], Name: value["k8s-name"]}
	ref.UID = types.UID(value["k8s-uid"])
	return ref
}
