package adminapi

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pluginbinding/kong-plugin-operator/test/kongtest"
)

func TestValidateAllowedHosts(t *testing.T) {
	good := []string{"kong", "Kong.ns.svc.", "kong:8001", "*.svc", "*.ns.svc:8444", "10.0.0.0/8", "10.0.0.1", "10.0.0.1:8001", "::1", "[::1]", "[::1]:8001", "fd00::/8", " kong "}
	if err := ValidateAllowedHosts(good); err != nil {
		t.Error(err)
	}
	if err := ValidateAllowedHosts(nil); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"", "*", "*.", "a.*.b", "http://kong", "kong/", "10.0.0.0/33", "kong:", "u@kong", "10.0.0.0/8:80", "a b", "kong:0", "kong:99999", "kong:http"} {
		err := ValidateAllowedHosts([]string{"kong", pattern})
		if e := failure(t, err, Invalid); !strings.Contains(e.Message, "pattern") {
			t.Errorf("%q: %v", pattern, e)
		}
		_, err = New(Settings{AdminURL: "http://kong", AllowedHosts: []string{pattern}}, nil)
		wantReason(t, err, Invalid)
	}
}

// TestAllowedHosts is the table of what is allowed. dialled is the address that DNS gives, or the
// one in the URL.
func TestAllowedHosts(t *testing.T) {
	tests := []struct {
		name, url, dialled string
		patterns           []string
		byURL, byAddress   bool
	}{
		{"no patterns", "http://anything", "169.254.169.254:80", nil, true, true},
		{"a host", "http://kong:8001", "10.0.0.1:8001", []string{"kong"}, true, true},
		{"another case, a dot", "http://KONG.:8001", "10.0.0.1:8001", []string{"Kong"}, true, true},
		{"another host", "http://evil:8001", "10.0.0.1:8001", []string{"kong"}, false, false},
		{"a port", "http://kong:8001", "10.0.0.1:8001", []string{"kong:8001"}, true, true},
		{"another port", "http://kong:9000", "10.0.0.1:9000", []string{"kong:8001"}, false, false},
		{"the default port", "https://kong", "10.0.0.1:443", []string{"kong:443"}, true, true},
		{"below a domain", "http://kong.ns.svc", "10.0.0.1:80", []string{"*.ns.svc"}, true, true},
		{"the domain", "http://ns.svc", "10.0.0.1:80", []string{"*.ns.svc"}, false, false},
		{"a domain with the same end", "http://evilns.svc", "10.0.0.1:80", []string{"*.ns.svc"}, false, false},
		{"an address", "http://10.0.0.1:8001", "10.0.0.1:8001", []string{"10.0.0.1"}, true, true},
		{"an address in a CIDR", "http://10.0.0.1:8001", "10.0.0.1:8001", []string{"10.0.0.0/24"}, true, true},
		{"an address outside", "http://10.0.1.1:8001", "10.0.1.1:8001", []string{"10.0.0.0/24"}, false, false},
		{"an address written as IPv6", "http://[::ffff:169.254.169.254]", "169.254.169.254:80", []string{"10.0.0.0/8", "kong"}, false, false},
		{"an address with a port", "http://[::1]:8001", "[::1]:8001", []string{"[::1]:8001"}, true, true},
		{"an address with another port", "http://[::1]:8002", "[::1]:8002", []string{"[::1]:8001"}, false, false},
		{"an address and only names", "http://10.0.0.1", "10.0.0.1:80", []string{"*.svc"}, false, false},
		{"a name that resolves into a CIDR", "http://kong", "10.0.0.1:80", []string{"10.0.0.0/8"}, true, true},
		{"a name that resolves elsewhere", "http://kong", "192.168.0.1:80", []string{"10.0.0.0/8"}, true, false},
		{"a name that leads to the metadata service", "http://kong.svc", "169.254.169.254:80", []string{"*.svc"}, true, false},
		{"the metadata service in IPv6", "http://kong.svc", "[fd00:ec2::254]:80", []string{"*.svc"}, true, false},
		{"another cloud's metadata service", "http://kong.svc", "100.100.100.200:80", []string{"*.svc"}, true, false},
		{"the same, mapped", "http://kong.svc", "[::ffff:100.100.100.200]:80", []string{"*.svc"}, true, false},
		{"a name that leads to loopback", "http://kong.svc", "127.0.0.1:80", []string{"*.svc"}, true, false},
		{"mapped loopback", "http://kong.svc", "[::ffff:127.0.0.1]:80", []string{"*.svc"}, true, false},
		{"loopback in IPv6", "http://kong.svc", "[::1]:80", []string{"*.svc"}, true, false},
		{"unspecified", "http://kong.svc", "0.0.0.0:80", []string{"*.svc"}, true, false},
		{"link-local with a zone", "http://kong.svc", "[fe80::1%eth0]:80", []string{"*.svc"}, true, false},
		{"loopback on purpose", "http://localhost", "127.0.0.1:80", []string{"localhost", "127.0.0.0/8"}, true, true},
		{"not an address", "http://kong", "kong:80", []string{"kong"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(Settings{AdminURL: tt.url, AllowedHosts: tt.patterns}, nil)
			if byURL := err == nil; byURL != tt.byURL {
				t.Errorf("by its URL: %v", err)
			}
			if err != nil {
				if e := failure(t, err, Invalid); !strings.Contains(e.Message, "--allowed-admin-hosts") {
					t.Error(e)
				}
				return
			}
			c.Close()
			allowed, _ := parseAllowedHosts(tt.patterns)
			u, _ := url.Parse(tt.url)
			check := allowed.control(u)
			if check == nil {
				return
			}
			if err := check("tcp", tt.dialled, nil); (err == nil) != tt.byAddress {
				t.Errorf("by its address: %v", err)
			}
		})
	}
}

// A name of DNS leads to this machine: the dialer refuses the address, and nothing was sent.
func TestADNSNameLeadsToAForbiddenAddress(t *testing.T) {
	kong := kongtest.Start(t)
	u, err := url.Parse(kong.URL())
	if err != nil {
		t.Fatal(err)
	}
	if ips, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost"); err != nil || !netipContains(ips, "127.0.0.1") {
		t.Fatalf("localhost is %v, %v", ips, err)
	}
	adminURL := "http://localhost:" + u.Port()
	c := trusting(t, adminURL, func(s *Settings) { s.AllowedHosts = []string{"localhost"} })
	wantReasons(t, c, Invalid, Invalid)
	_, err = c.Probe(t.Context())
	if e := failure(t, err, Invalid); strings.Contains(e.Error(), "127.0.0.1") || !strings.Contains(e.Message, "--allowed-admin-hosts") {
		t.Error(e)
	}
	if n := len(kong.Journal().Requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	probed(t, adminURL, func(s *Settings) { s.AllowedHosts = []string{"127.0.0.0/8"} })
}

func netipContains(ips []netip.Addr, want string) bool {
	for _, ip := range ips {
		if ip.Unmap().String() == want {
			return true
		}
	}
	return false
}
