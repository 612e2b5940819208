package kongtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	status := func(s *Server, certs ...tls.Certificate) int {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: tr}).Get(s.URL() + "/status")
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	plain := Start(t, WithTLS(cert))
	if got := status(plain); got != 200 {
		t.Fatalf("status %d", got)
	}
	mutual := Start(t, WithTLS(cert, pool))
	if got := status(mutual); got != 0 {
		t.Fatalf("without a client certificate: status %d", got)
	}
	if got := status(mutual, cert); got != 200 {
		t.Fatalf("with a client certificate: status %d", got)
	}
}

// TestPlainHTTPToTLS: nginx says so.
func TestPlainHTTPToTLS(t *testing.T) {
	cert, _ := selfSigned(t)
	s := Start(t, WithTLS(cert))
	resp, err := client.Get("http" + strings.TrimPrefix(s.URL(), "https"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "The plain HTTP request was sent to HTTPS port") {
		t.Errorf("status %d, %v: %s", resp.StatusCode, err, body)
	}
}

// selfSigned makes a certificate for both ends, and the pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
