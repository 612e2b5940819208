package adminapi

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// allowedHosts restricts where a client connects to. The zero value allows everything.
type allowedHosts struct {
	names    []hostPattern
	prefixes []prefixPattern
}

// hostPattern is "host", "host:port", "*.domain" or "*.domain:port".
type hostPattern struct {
	name   string // without the "*."
	suffix bool
	port   string // "" for any
}

// prefixPattern is an IP address, an IP address with a port, or a CIDR.
type prefixPattern struct {
	prefix netip.Prefix
	port   string // "" for any
}

// ValidateAllowedHosts returns an Error with Reason Invalid for the first pattern that is not one
// of those described at Settings.AllowedHosts.
func ValidateAllowedHosts(patterns []string) error {
	if _, invalid := parseAllowedHosts(patterns); invalid != nil {
		return invalid
	}
	return nil
}

func parseAllowedHosts(patterns []string) (allowedHosts, *Error) {
	var allowed allowedHosts
	for _, pattern := range patterns {
		if !allowed.add(strings.TrimSpace(pattern)) {
			return allowedHosts{}, invalid(opConnect, "%q is not a pattern for allowed hosts: use host, *.domain, an IP address, one of these with :port, or a CIDR", truncate(pattern, maxFieldLength))
		}
	}
	return allowed, nil
}

// add adds a pattern and reports whether it is one.
func (a *allowedHosts) add(pattern string) bool {
	if prefix, err := netip.ParsePrefix(pattern); err == nil {
		a.prefixes = append(a.prefixes, prefixPattern{prefix: prefix.Masked()})
		return true
	}
	host, port := pattern, ""
	if ip, err := netip.ParseAddr(strings.Trim(pattern, "[]")); err == nil {
		host = ip.String() // an IPv6 address has colons and no port
	} else if h, p, err := net.SplitHostPort(pattern); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		host, port = h, strconv.FormatUint(n, 10)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		a.prefixes = append(a.prefixes, prefixPattern{prefix: netip.PrefixFrom(ip, ip.BitLen()), port: port})
		return true
	}
	name, suffix := strings.CutPrefix(canonicalName(host), "*.")
	if name == "" || strings.ContainsAny(name, "*/:@?#% []") {
		return false
	}
	a.names = append(a.names, hostPattern{name: name, suffix: suffix, port: port})
	return true
}

func (a allowedHosts) empty() bool { return len(a.names)+len(a.prefixes) == 0 }

// checkURL refuses a URL whose host can never be allowed. A host name that no pattern names can
// still resolve to an allowed address.
func (a allowedHosts) checkURL(u *url.URL) *Error {
	if a.empty() {
		return nil
	}
	host, port := canonicalName(u.Hostname()), portOf(u)
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && a.allowsIP(ip, port):
	case err != nil && (a.allowsName(host, port) || len(a.prefixes) > 0):
	default:
		return invalid(opConnect, "the host of adminURL is not one of those that the operator may connect to (--allowed-admin-hosts)")
	}
	return nil
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return defaultPorts[u.Scheme]
}

func (a allowedHosts) allowsName(name, port string) bool {
	return slices.ContainsFunc(a.names, func(p hostPattern) bool {
		matches := name == p.name
		if p.suffix {
			matches = strings.HasSuffix(name, "."+p.name)
		}
		return matches && (p.port == "" || p.port == port)
	})
}

func (a allowedHosts) allowsIP(ip netip.Addr, port string) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(a.prefixes, func(p prefixPattern) bool {
		return p.prefix.Contains(ip) && (p.port == "" || p.port == port)
	})
}

// metadataServices are the addresses of cloud metadata services that are not link-local.
var metadataServices = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("100.100.100.200"),
}

// special reports whether an address belongs to this machine or to its link. An allowed host name
// that resolves to one is not enough: whoever controls the DNS name must not reach the operator's
// own ports or a metadata service.
func special(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() ||
		slices.Contains(metadataServices, ip)
}

// forbiddenAddressError means that the host of adminURL resolved to an address that is not allowed.
// It does not tell the address: it can be internal.
type forbiddenAddressError struct{}

func (forbiddenAddressError) Error() string {
	return "the host of adminURL resolves to an address that the operator may not connect to (--allowed-admin-hosts)"
}

// control returns the hook of a net.Dialer that checks each address, after DNS and before the
// connection. u is the URL of the Admin API. It is nil if everything is allowed.
func (a allowedHosts) control(u *url.URL) func(network, address string, _ syscall.RawConn) error {
	if a.empty() {
		return nil
	}
	named := a.allowsName(canonicalName(u.Hostname()), portOf(u))
	return func(_, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			return forbiddenAddressError{}
		}
		ip, port := addr.Addr().Unmap().WithZone(""), strconv.Itoa(int(addr.Port()))
		if a.allowsIP(ip, port) || named && !special(ip) {
			return nil
		}
		return forbiddenAddressError{}
	}
}
