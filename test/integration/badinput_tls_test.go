package integration

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/pluginbinding/kong-plugin-operator/api/v1alpha1"
	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

// trusting is a KongGateway whose authority is in the Secret ca.
func trusting(edit ...func(*v1alpha1.GatewayTLS)) func(*v1alpha1.KongGateway) {
	return func(gw *v1alpha1.KongGateway) {
		gw.Spec.TLS = &v1alpha1.GatewayTLS{CASecretRef: &v1alpha1.CASecretRef{Name: "ca"}}
		for _, e := range edit {
			e(gw.Spec.TLS)
		}
	}
}

func showing(clientCert string) func(*v1alpha1.GatewayTLS) {
	return func(tls *v1alpha1.GatewayTLS) {
		tls.ClientCertSecretRef = &v1alpha1.ClientCertSecretRef{Name: clientCert}
	}
}

func expecting(serverName string) func(*v1alpha1.GatewayTLS) {
	return func(tls *v1alpha1.GatewayTLS) { tls.ServerName = serverName }
}

var _ = Describe("Bad input: the gateway's certificates", func() {
	failed := func(says ...string) symptom {
		return symptom{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonTLSFailed, says: append(says, "check spec.tls")}
	}
	// over is a story with a Kong that serves https for the hosts.
	over := func(ours authority, hosts ...string) *story {
		certificate, _ := ours.issue(hosts...)
		s := newQuietStory(kongtest.WithTLS(certificate))
		s.startOperator()
		return s
	}

	It("says that the certificate is of an unknown authority, and picks up the right one", func() {
		ours, theirs := newAuthority("ours"), newAuthority("theirs")
		s := over(ours, "127.0.0.1")
		unchanged := s.kongAsItWas()
		ca := s.secret("ca", map[string]string{"ca.crt": theirs.pem})
		gw, binding := s.strange(trusting())
		s.unusable(gw, binding, failed("certificate signed by unknown authority"))
		unchanged()

		s.setSecret(ca, "ca.crt", ours.pem)
		s.ready(binding)
	})

	It("trusts only the system's authorities unless told otherwise", func() {
		s := over(newAuthority("ours"), "127.0.0.1")
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at(s.kong.URL()))
		s.unusable(gw, binding, failed("certificate signed by unknown authority"))
		unchanged()
	})

	It("says that a Secret holds no authority", func() {
		ours := newAuthority("ours")
		s := over(ours, "127.0.0.1")
		hidden := s.eavesdrop()
		unchanged := s.kongAsItWas()
		ca := s.secret("ca", map[string]string{"ca.crt": planted})
		gw, binding := s.strange(trusting())
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			says: []string{"the CA bundle holds no certificate in PEM", "spec.tls"},
		})
		hidden(planted)
		unchanged()

		s.setSecret(ca, "ca.crt", ours.pem)
		s.ready(binding)
	})

	It("says that the certificate is another host's, and expects the one it is told to", func() {
		ours := newAuthority("ours")
		s := over(ours, "kong-admin.internal")
		unchanged := s.kongAsItWas()
		s.secret("ca", map[string]string{"ca.crt": ours.pem})
		gw, binding := s.strange(trusting())
		s.unusable(gw, binding, failed("cannot validate certificate for 127.0.0.1"))
		change(s, gw, trusting(expecting("kong-proxy.internal")))
		s.gatewayShows(gw, failed("certificate is valid for kong-admin.internal, not kong-proxy.internal"))
		unchanged()

		change(s, gw, trusting(expecting("kong-admin.internal")))
		s.ready(binding)
	})

	It("says that a client certificate is needed, is another authority's, does not fit, and shows the right one", func() {
		ours, theirs := newAuthority("ours"), newAuthority("theirs")
		certificate, _ := ours.issue("127.0.0.1")
		s := newQuietStory(kongtest.WithTLS(certificate, ours.pool()))
		s.startOperator()
		unchanged := s.kongAsItWas()
		s.secret("ca", map[string]string{"ca.crt": ours.pem})
		_, files := theirs.issue("operator")
		client := s.secret("client", files)

		gw, binding := s.strange(trusting())
		s.unusable(gw, binding, failed("the server refused the client certificate"))
		change(s, gw, trusting(showing("client")))
		s.gatewayShows(gw, failed("the server refused the client certificate"))

		_, files = ours.issue("operator")
		s.setSecret(client, "tls.crt", files["tls.crt"]) // with the other one's key
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionAccepted, reason: v1alpha1.ReasonInvalidConnection,
			says: []string{"the client certificate and key are not in PEM, or do not belong together", "correct", "spec.tls", "the Secret that it names"},
		})
		unchanged()

		s.setSecret(client, "tls.key", files["tls.key"])
		s.ready(binding)
	})

	It("waits for the Secret of a client certificate", func() {
		ours := newAuthority("ours")
		s := over(ours, "127.0.0.1")
		s.secret("ca", map[string]string{"ca.crt": ours.pem})
		gw, binding := s.strange(trusting(showing("client")))
		s.unusable(gw, binding, symptom{
			condition: v1alpha1.ConditionResolvedRefs, reason: v1alpha1.ReasonSecretNotFound,
			says: []string{"no Secret client in namespace " + s.namespace},
		})
		_, files := ours.issue("operator")
		s.secret("client", files)
		s.ready(binding)
	})

	It("says that the server does not speak TLS", func() {
		s := newStory()
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at("https" + s.kong.URL()[len("http"):]))
		s.unusable(gw, binding, failed("adminURL is https, and the server does not speak TLS"))
		unchanged()
	})

	It("says that the server speaks TLS only", func() {
		s := over(newAuthority("ours"), "127.0.0.1")
		unchanged := s.kongAsItWas()
		gw, binding := s.strange(at("http" + s.kong.URL()[len("https"):]))
		s.gatewayShows(gw, symptom{condition: v1alpha1.ConditionReachable, reason: v1alpha1.ReasonNotKong, says: []string{"check spec.adminURL"}})
		s.shows(binding, symptom{condition: v1alpha1.ConditionProgrammed, unknown: true, reason: v1alpha1.ReasonGatewayNotReady})
		unchanged()
	})
})
