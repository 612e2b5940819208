package kong

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// service is the Service that an adminURL names.
type service struct {
	types.NamespacedName
	port int
}

// serviceOf returns the Service that the host of an adminURL can name: NAME.NAMESPACE,
// NAME.NAMESPACE.svc, or the latter with the domain of the cluster. certain is false for two labels,
// which can be a name of the DNS outside the cluster as well.
func serviceOf(u *url.URL) (s service, certain, ok bool) {
	labels := strings.Split(strings.TrimSuffix(u.Hostname(), "."), ".")
	switch {
	case len(labels) == 2:
	case len(labels) > 2 && labels[2] == "svc":
		certain = true
	default:
		return service{}, false, false
	}
	if len(validation.IsDNS1035Label(labels[0])) > 0 || len(validation.IsDNS1123Label(labels[1])) > 0 {
		return service{}, false, false
	}
	port := 80
	if u.Scheme == "https" {
		port = 443
	}
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.Atoi(text); err != nil {
			return service{}, false, false
		}
	}
	return service{types.NamespacedName{Namespace: labels[1], Name: labels[0]}, port}, certain, true
}

// findService returns the Service of an adminURL, false if its host is none.
func findService(ctx context.Context, reader client.Reader, u *url.URL) (service, bool, error) {
	s, certain, ok := serviceOf(u)
	if !ok {
		return s, false, nil
	}
	err := reader.Get(ctx, s.NamespacedName, &corev1.Service{})
	switch {
	case err == nil, apierrors.IsForbidden(err): // the proxy needs no right to read the Service
		return s, true, nil
	case apierrors.IsNotFound(err) && certain:
		return s, false, fmt.Errorf("the Service %s, the host of adminURL, does not exist; correct adminURL, or pass --kong-url", s.NamespacedName)
	case apierrors.IsNotFound(err):
		return s, false, nil
	default:
		return s, false, fmt.Errorf("read the Service %s, the host of adminURL: %w", s.NamespacedName, err)
	}
}
