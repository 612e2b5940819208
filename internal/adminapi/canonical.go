package adminapi

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CanonicalURL returns the one form of all adminURLs that lead to the same address: scheme and
// host in lower case, no default port, no trailing dot of the host and no trailing slash of the
// path. It returns what is not a valid adminURL unchanged. It is for comparison. Connections use
// the URL as given, because the trailing dot of a host has a meaning to DNS.
func CanonicalURL(adminURL string) string {
	u, invalid := Settings{AdminURL: adminURL}.baseURL()
	if invalid != nil {
		return adminURL
	}
	u.Host = canonicalHost(u)
	return u.String()
}

// CanonicalURL returns the canonical form of AdminURL.
func (s Settings) CanonicalURL() string { return CanonicalURL(s.AdminURL) }

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// canonicalHost returns the host, and the port unless it is the default of the scheme. The scheme
// of a parsed URL is in lower case.
func canonicalHost(u *url.URL) string {
	host, port := canonicalName(u.Hostname()), u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	switch {
	case port != "" && port != defaultPorts[u.Scheme]:
		return net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// canonicalName returns the canonical form of a host name or an IP address.
func canonicalName(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
