package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pageSize bounds one page of a list.
const pageSize = 500

// ListAll lists page by page.
func ListAll(ctx context.Context, reader client.Reader, list client.ObjectList, opts ...client.ListOption) error {
	var all []runtime.Object
	for {
		page := append([]client.ListOption{client.Limit(pageSize), client.Continue(list.GetContinue())}, opts...)
		if err := reader.List(ctx, list, page...); err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return err
		}
		all = append(all, items...)
		if list.GetContinue() == "" {
			return meta.SetList(list, all)
		}
	}
}

// CompleteNames completes the first argument with the names of objects in the namespace.
func (f *Factory) CompleteNames(list client.ObjectList) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		reader, err := f.Client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		namespace, _, err := f.Namespace()
		if err != nil || reader.List(ctx, list, client.InNamespace(namespace), client.Limit(pageSize)) != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for _, item := range items {
			if object, ok := item.(client.Object); ok && strings.HasPrefix(object.GetName(), begin) {
				names = append(names, object.GetName())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
