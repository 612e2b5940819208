package integration

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// withCA makes a KongGateway trust the authority in the Secret ca.
func withCA(edit ...func(*v1alpha1.GatewayTLS)) func(*v1alpha1.KongGateway) {
	return func(gw *v1alpha1.KongGateway) {
		gw.Spec.TLS = &v1alpha1.GatewayTLS{CASecretRef: &v1alpha1.CASecretRef{Name: "ca"}}
		for _, e := range edit {
			e(gw.Spec.TLS)
		}
	}
}

func withClientCert(clientCert string) func(*v1alpha1.GatewayTLS) {
	return func(tls *v1alpha1.GatewayTLS) {
		tls.ClientCertSecretRef = &v1alpha1.ClientCertSecretRef{Name: clientCert}
	}
}

func withServerName(serverName string) func(*v1alpha1.GatewayTLS) {
	return func(tls *v1alpha1.GatewayTLS) { tls.ServerName = serverName }
}

var _ = Describe("Bad input: the gateway's certificates", func() {
	failed := func(says ...string) conditionMatch {
		return conditionMatch{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonTLSFailed, contains: append(says, "spec.tls")}
	}
	// over creates an environment with a Kong that serves HTTPS for the hosts.
	over := func(ours authority, hosts ...string) *testEnv {
		certificate, _ := ours.issue(hosts...)
		env := newEnvWithoutOperator(kongtest.WithTLS(certificate))
		env.startOperator()
		return env
	}

	It("says that the certificate is of an unknown authority, and picks up the right one", func() {
		ours, theirs := newAuthority("ours"), newAuthority("theirs")
		env := over(ours, "127.0.0.1")
		unchanged := env.snapshotKong()
		ca := env.secret("ca", map[string]string{"ca.crt": theirs.pem})
		gw, binding := env.createWithOddGateway(withCA())
		env.expectUnusableGateway(gw, binding, failed("certificate signed by unknown authority"))
		unchanged()

		env.setSecretKey(ca, "ca.crt", ours.pem)
		env.waitUntilReady(binding)
	})

	It("trusts only the system's authorities unless told otherwise", func() {
		env := over(newAuthority("ours"), "127.0.0.1")
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL(env.kong.URL()))
		env.expectUnusableGateway(gw, binding, failed("certificate signed by unknown authority"))
		unchanged()
	})

	It("says that a Secret holds no authority", func() {
		ours := newAuthority("ours")
		env := over(ours, "127.0.0.1")
		expectHidden := env.captureOutput()
		unchanged := env.snapshotKong()
		ca := env.secret("ca", map[string]string{"ca.crt": plantedSecret})
		gw, binding := env.createWithOddGateway(withCA())
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			contains: []string{"the CA bundle contains no certificate in PEM", "spec.tls"},
		})
		expectHidden(plantedSecret)
		unchanged()

		env.setSecretKey(ca, "ca.crt", ours.pem)
		env.waitUntilReady(binding)
	})

	It("says that the certificate is another host's, and expects the one it is told to", func() {
		ours := newAuthority("ours")
		env := over(ours, "kong-admin.internal")
		unchanged := env.snapshotKong()
		env.secret("ca", map[string]string{"ca.crt": ours.pem})
		gw, binding := env.createWithOddGateway(withCA())
		env.expectUnusableGateway(gw, binding, failed("cannot validate certificate for 127.0.0.1"))
		change(env, gw, withCA(withServerName("kong-proxy.internal")))
		env.expectGatewayCondition(gw, failed("certificate is valid for kong-admin.internal, not kong-proxy.internal"))
		unchanged()

		change(env, gw, withCA(withServerName("kong-admin.internal")))
		env.waitUntilReady(binding)
	})

	It("says that a client certificate is needed, is another authority's, does not fit, and shows the right one", func() {
		ours, theirs := newAuthority("ours"), newAuthority("theirs")
		certificate, _ := ours.issue("127.0.0.1")
		env := newEnvWithoutOperator(kongtest.WithTLS(certificate, ours.pool()))
		env.startOperator()
		unchanged := env.snapshotKong()
		env.secret("ca", map[string]string{"ca.crt": ours.pem})
		_, files := theirs.issue("operator")
		client := env.secret("client", files)

		gw, binding := env.createWithOddGateway(withCA())
		env.expectUnusableGateway(gw, binding, failed("the server refused the client certificate"))
		change(env, gw, withCA(withClientCert("client")))
		env.expectGatewayCondition(gw, failed("the server refused the client certificate"))

		_, files = ours.issue("operator")
		env.setSecretKey(client, "tls.crt", files["tls.crt"]) // with the key of the former certificate
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			contains: []string{"the client certificate and key are not in PEM, or do not belong together", "correct", "spec.tls", "the Secret that it names"},
		})
		unchanged()

		env.setSecretKey(client, "tls.key", files["tls.key"])
		env.waitUntilReady(binding)
	})

	It("waits for the Secret of a client certificate", func() {
		ours := newAuthority("ours")
		env := over(ours, "127.0.0.1")
		env.secret("ca", map[string]string{"ca.crt": ours.pem})
		gw, binding := env.createWithOddGateway(withCA(withClientCert("client")))
		env.expectUnusableGateway(gw, binding, conditionMatch{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			contains: []string{"Secret client does not exist in namespace " + env.namespace},
		})
		_, files := ours.issue("operator")
		env.secret("client", files)
		env.waitUntilReady(binding)
	})

	It("says that the server does not speak TLS", func() {
		env := newTestEnv()
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL("https" + env.kong.URL()[len("http"):]))
		env.expectUnusableGateway(gw, binding, failed("adminURL is https, and the server does not speak TLS"))
		unchanged()
	})

	It("says that the server speaks TLS only", func() {
		env := over(newAuthority("ours"), "127.0.0.1")
		unchanged := env.snapshotKong()
		gw, binding := env.createWithOddGateway(withAdminURL("http" + env.kong.URL()[len("https"):]))
		env.expectGatewayCondition(gw, conditionMatch{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonTLSFailed, contains: []string{"spec.adminURL"}})
		env.expectCondition(binding, conditionMatch{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady})
		unchanged()
	})
})
