package secrets

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

func TestReadersReadEachObjectOnce(t *testing.T) {
	reads := 0
	missing := func(name string) error { return apierrors.NewNotFound(schema.GroupResource{Resource: "x"}, name) }
	ofSecrets := NewReader(func(_ context.Context, key types.NamespacedName) (*corev1.Secret, error) {
		reads++
		if key.Name != "s" || key.Namespace != "shop" {
			return nil, missing(key.Name)
		}
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", ResourceVersion: "7"}, Data: map[string][]byte{"a": []byte("1")}}, nil
	}, "shop")
	ofConfigMaps := NewConfigMapReader(func(_ context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
		reads++
		if key.Name != "m" {
			return nil, missing(key.Name)
		}
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "m", ResourceVersion: "8"},
			Data:       map[string]string{"a": "2"}, BinaryData: map[string][]byte{"b": []byte("3")},
		}, nil
	}, "shop")
	for _, tc := range []struct {
		reader          *Reader
		name, key, want string
		err             string
	}{
		{ofSecrets, "s", "a", "1", ""},
		{ofSecrets, "s", "b", "", "Secret s in namespace shop has no key b; add it, or correct its name"},
		{ofSecrets, "t", "a", "", "Secret t does not exist in namespace shop; create it, or correct its name"},
		{ofConfigMaps, "m", "a", "2", ""},
		{ofConfigMaps, "m", "b", "3", ""},
		{ofConfigMaps, "m", "c", "", "ConfigMap m in namespace shop has no key c; add it, or correct its name"},
		{ofConfigMaps, "n", "c", "", "ConfigMap n does not exist in namespace shop; create it, or correct its name"},
	} {
		got, err := tc.reader.Value(t.Context(), tc.name, tc.key)
		if string(got) != tc.want || (err == nil) != (tc.err == "") {
			t.Errorf("%s, %s: %q, %v", tc.name, tc.key, got, err)
		}
		var missing *NotFoundError
		if tc.err != "" && (!errors.As(err, &missing) || err.Error() != tc.err || missing.Kind != tc.reader.kind) {
			t.Errorf("%s, %s: error %v, want %s", tc.name, tc.key, err, tc.err)
		}
	}
	if reads != 4 {
		t.Errorf("%d reads", reads)
	}
	if got := slices.Concat(ofSecrets.Versions(), ofConfigMaps.Versions()); !slices.Equal(got, []string{"s@7", "configmap/m@8"}) {
		t.Errorf("versions %q", got)
	}
}
