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
	// page returns the config of a request-termination plugin with a body of that many bytes.
	page := func(size int) string {
		return `{"status_code": 503, "body": "` + strings.Repeat("a", size) + `"}`
	}
	served := func(env *testEnv, binding *v1alpha1.PluginBinding) int {
		config, _ := env.kongPlugin(binding)["config"].(map[string]any)
		body, _ := config["body"].(string)
		return len(body)
	}

	It("is programmed, found in sync, changed and removed like any other", func() {
		env := newTestEnv()
		binding := env.createReady(env.binding("closed", withPlugin("request-termination", page(mebibyte))))
		Expect(served(env, binding)).To(Equal(mebibyte))
		unchanged := env.snapshotKong()
		env.expectNoStatusWrite(binding)
		unchanged()

		change(env, binding, withPlugin("request-termination", page(mebibyte+1024)))
		env.waitUntilReady(binding)
		Expect(served(env, binding)).To(Equal(mebibyte + 1024))
		Expect(k8s.Delete(env.ctx, binding)).To(Succeed())
		env.waitUntilGone(binding)
		Expect(env.kong.Plugins()).To(BeEmpty())
	})

	It("from a Secret is programmed and hidden", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		config := page(mebibyte - 1024)
		env.secret("page", map[string]string{"config.json": config})
		binding := env.createReady(env.binding("closed", withPlugin("request-termination", ""), withConfigFrom("page", "config.json")))
		Expect(served(env, binding)).To(Equal(mebibyte - 1024))
		unchanged := env.snapshotKong()
		env.expectNoStatusWrite(binding)
		unchanged()
		expectHidden(strings.Repeat("a", 100))
	})

	It("from a Secret that Kong refuses does not show in what Kong says", func() {
		env := newTestEnv()
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		config, err := json.Marshal(map[string]any{"allow": []string{strings.Repeat(plantedSecret, mebibyte/2/len(plantedSecret))}})
		Expect(err).NotTo(HaveOccurred())
		env.secret("office", map[string]string{"config.json": string(config)})
		binding := env.binding("office-only", withPlugin("ip-restriction", ""), withConfigFrom("office", "config.json"))
		env.create(binding)
		env.expectCondition(binding, conditionMatch{
			condition: v1alpha1.ConditionProgrammed, reason: v1alpha1.ReasonRejected,
			contains: []string{"config.allow[0]", "withheld because the value comes from a Secret"},
		})
		env.expectNoStatusWrite(binding)
		expectHidden(plantedSecret)
		unchanged()
	})

	DescribeTable("and more is refused at apply by the API server, not later",
		func(size int, says string) {
			env := newEnvWithoutOperator()
			err := k8s.Create(env.ctx, env.binding("closed", withPlugin("request-termination", page(size))))
			Expect(err).To(MatchError(ContainSubstring(says)))
			_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | kubectl apply | %v\n", CurrentSpecReport().LeafNodeText, err)
		},
		Entry("1.6 MiB", mebibyte*16/10, "etcdserver: request is too large"),
		Entry("2 MiB", 2*mebibyte, "trying to send message larger than max"),
		Entry("3 MiB", 3*mebibyte, "Request entity too large"),
	)

	It("and more in a Secret is refused at apply by the API server", func() {
		env := newEnvWithoutOperator()
		err := k8s.Create(env.ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace, Name: "page"},
			StringData: map[string]string{"config.json": page(mebibyte)},
		})
		Expect(err).To(MatchError(ContainSubstring("may not be more than 1048576 bytes")))
		_, _ = fmt.Fprintf(GinkgoWriter, "READS %s | kubectl apply | %v\n", CurrentSpecReport().LeafNodeText, err)
	})
})
