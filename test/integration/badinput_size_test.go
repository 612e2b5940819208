package integration

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
)

const mebibyte = 1 << 20

var _ = Describe("Bad input: a config of 1 MiB", func() {
	// page is the config of a request-termination that answers so many bytes.
	page := func(size int) string {
		return `{"status_code": 503, "body": "` + strings.Repeat("a", size) + `"}`
	}
	served := func(s *story, binding *v1alpha1.PluginBinding) int {
		config, _ := s.pluginOf(binding)["config"].(map[string]any)
		body, _ := config["body"].(string)
		return len(body)
	}

	It("is programmed, found in sync, changed and removed like any other", func() {
		s := newStory()
		binding := s.created(s.binding("closed", declaring("request-termination", page(mebibyte))))
		Expect(served(s, binding)).To(Equal(mebibyte))
		unchanged := s.kongAsItWas()
		s.steady(binding)
		unchanged()

		change(s, binding, declaring("request-termination", page(mebibyte+1024)))
		s.ready(binding)
		Expect(served(s, binding)).To(Equal(mebibyte + 1024))
		Expect(k8s.Delete(s.ctx, binding)).To(Succeed())
		s.gone(binding)
		Expect(s.kong.Plugins()).To(BeEmpty())
	})

	It("from a Secret is programmed and hidden", func() {
		s := newStory()
		hidden := s.eavesdrop()
		config := page(mebibyte - 1024)
		s.secret("page", map[string]string{"config.json": config})
		binding := s.created(s.binding("closed", declaring("request-termination", ""), configFrom("page", "config.json")))
		Expect(served(s, binding)).To(Equal(mebibyte - 1024))
		unchanged := s.kongAsItWas()
		s.steady(binding)
		unchanged()
		hidden(strings.Repeat("a", 100))
	})

	It("from a Secret that Kong refuses does not show in what Kong says", func() {
		s := newStory()
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		config, err := json.Marshal(map[string]any{"allow": []string{strings.Repeat(planted, mebibyte/2/len(planted))}})
		Expect(err).NotTo(HaveOccurred())
		s.secret("office", map[string]string{"config.json": string(config)})
		binding := s.binding("office-only", declaring("ip-restriction", ""), configFrom("office", "config.json"))
		s.create(binding)
		s.shows(binding, symptom{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			says: []string{"config.allow", "invalid ip or cidr range"},
		})
		s.steady(binding)
		hidden(planted)
		unchanged()
	})

	DescribeTable("and more is refused at apply by the API server, not later",
		func(size int, says string) {
			s := newQuietStory()
			err := k8s.Create(s.ctx, s.binding("closed", declaring("request-termination", page(size))))
			Expect(err).To(MatchError(ContainSubstring(says)))
			_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | kubectl apply | %v\n", CurrentSpecReport().LeafNodeText, err)
		},
		Entry("1.6 MiB", mebibyte*16/10, "etcdserver: request is too large"),
		Entry("2 MiB", 2*mebibyte, "trying to send message larger than max"),
		Entry("3 MiB", 3*mebibyte, "Request entity too large"),
	)

	It("and more in a Secret is refused at apply by the API server", func() {
		s := newQuietStory()
		err := k8s.Create(s.ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "page"},
			StringData: map[string]string{"config.json": page(mebibyte)},
		})
		Expect(err).To(MatchError(ContainSubstring("may not be more than 1048576 bytes")))
		_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | kubectl apply | %v\n", CurrentSpecReport().LeafNodeText, err)
	})
})
