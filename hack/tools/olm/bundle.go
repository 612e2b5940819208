package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	validator "github.com/operator-framework/api/pkg/validation/interfaces"
)

// bundle is one version, as OLM reads it from its directory.
type bundle struct {
	*manifests.Bundle
	directory string
}

func load(directories []string) ([]bundle, error) {
	var bundles []bundle
	for _, directory := range directories {
		read, err := manifests.GetBundleFromDir(directory)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", directory, err)
		}
		if read.CSV == nil || len(read.Channels) == 0 {
			return nil, fmt.Errorf("%s: no ClusterServiceVersion, or no channel", directory)
		}
		bundles = append(bundles, bundle{Bundle: read, directory: directory})
	}
	return bundles, nil
}

// validators are those that OperatorHub runs, and those that need no cluster.
var validators = validator.Validators{
	validation.ClusterServiceVersionValidator,
	validation.CustomResourceDefinitionValidator,
	validation.BundleValidator,
	validation.OperatorHubV2Validator,
	validation.StandardCapabilitiesValidator,
	validation.StandardCategoriesValidator,
	validation.ObjectValidator,
	validation.GoodPracticesValidator,
	validation.AlphaDeprecatedAPIsValidator,
}

// knownFalse is a warning about a right to "events", which the validator takes for
// events.k8s.io/v1beta1. A right has no version, and the manager uses events.k8s.io/v1.
const knownFalse = "Migrate the API(s) for events:"

// validate returns what is wrong with the bundles. A warning counts: there is none that we
// would want to live with.
func validate(bundles []bundle) error {
	var problems []error
	for _, b := range bundles {
		// The newest Kubernetes that the project is tested on.
		objects := append(b.ObjectsToValidate(), map[string]string{"k8s-version": "1.37"})
		for _, result := range validators.Validate(objects...) {
			for _, problem := range append(result.Errors, result.Warnings...) {
				if strings.Contains(problem.Error(), knownFalse) {
					continue
				}
				problems = append(problems, fmt.Errorf("%s: %w", b.directory, problem))
			}
		}
	}
	return errors.Join(problems...)
}
