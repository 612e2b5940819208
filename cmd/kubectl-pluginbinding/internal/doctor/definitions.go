package doctor

import (
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

// definitions are the CustomResourceDefinitions that this command knows, with their types.
var definitions = []struct {
	name string
	root reflect.Type
}{
	{"konggateways." + v1alpha1.GroupVersion.Group, reflect.TypeFor[v1alpha1.KongGateway]()},
	{"pluginbindings." + v1alpha1.GroupVersion.Group, reflect.TypeFor[v1alpha1.PluginBinding]()},
	{"pluginpolicies." + v1alpha1.GroupVersion.Group, reflect.TypeFor[v1alpha1.PluginPolicy]()},
}

// compareDefinition says which fields of a type the API server does not have. An older definition drops
// them without a word.
func compareDefinition(definition *apiextensionsv1.CustomResourceDefinition, root reflect.Type) CRD {
	crd := CRD{Name: definition.Name}
	for _, version := range definition.Spec.Versions {
		if version.Name != v1alpha1.GroupVersion.Version || !version.Served || version.Schema == nil || version.Schema.OpenAPIV3Schema == nil {
			continue
		}
		crd.Served = true
		missingFields(version.Schema.OpenAPIV3Schema, root, "", &crd.Missing)
	}
	slices.Sort(crd.Missing)
	return crd
}

// apiPackage is where the types are whose fields this command compares.
var apiPackage = reflect.TypeFor[v1alpha1.PluginBinding]().PkgPath()

func missingFields(schema *apiextensionsv1.JSONSchemaProps, t reflect.Type, path string, missing *[]string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			if schema.Items == nil || schema.Items.Schema == nil {
				return
			}
			schema = schema.Items.Schema
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != apiPackage {
		return
	}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || field.Type == reflect.TypeFor[metav1.ObjectMeta]() {
			continue
		}
		inner, known := schema.Properties[name]
		if !known {
			*missing = append(*missing, path+name)
			continue
		}
		missingFields(&inner, field.Type, path+name+".", missing)
	}
}
