package schema

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

const invalidPort = "invalid port number"

// hostKind is the kind of a host, as Kong decides it: more than one colon is IPv6, only
// digits and dots are IPv4, anything else is a name.
func hostKind(s string) string {
	switch {
	case strings.Count(s, ":") > 1:
		return "ipv6"
	case strings.Trim(s, "0123456789.:") == "" && strings.Trim(s, ":") != "":
		return "ipv4"
	}
	return "name"
}

// readHost reads a name or an address with an optional port. why is the error, or "".
func readHost(s string) (kind string, hasPort bool, why string) {
	kind = hostKind(s)
	switch kind {
	case "ipv4":
		hasPort, why = readIPv4(s)
	case "ipv6":
		hasPort, why = readIPv6(s)
	default:
		hasPort, why = readName(s)
	}
	return kind, hasPort, why
}

var (
	ipv4Host = regexp.MustCompile(`^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?::(\d+))?$`)
	ipv6Host = regexp.MustCompile(`^\[([^\[\]]*)\](.*)$`)
	ipv6Port = regexp.MustCompile(`^:\d+$`)
	namePort = regexp.MustCompile(`:(\d+)$`)
	hostName = regexp.MustCompile(`^[A-Za-z0-9_.\-]+$`)
)

func readIPv4(s string) (hasPort bool, why string) {
	parts := ipv4Host.FindStringSubmatch(s)
	if parts == nil {
		return false, "invalid ipv4 address: " + s
	}
	for _, p := range parts[1:5] {
		if n, _ := strconv.Atoi(p); n > 255 {
			return false, "invalid ipv4 address: " + s
		}
	}
	return parts[5] != "", checkPort(parts[5])
}

func readIPv6(s string) (hasPort bool, why string) {
	address, port := s, ""
	if parts := ipv6Host.FindStringSubmatch(s); parts != nil {
		address, port = parts[1], parts[2]
	}
	if port != "" {
		if !ipv6Port.MatchString(port) {
			return false, "invalid ipv6 address"
		}
		if why := checkPort(port[1:]); why != "" {
			return false, why
		}
	}
	if a, err := netip.ParseAddr(address); err != nil || !a.Is6() || a.Zone() != "" {
		return false, "invalid ipv6 address: " + s
	}
	return port != "", ""
}

// readName reads a host name. A label may not end in a dash, and only the last may be
// empty.
func readName(s string) (hasPort bool, why string) {
	name := s
	if m := namePort.FindStringSubmatch(s); m != nil {
		name, hasPort = strings.TrimSuffix(s, m[0]), true
		if why := checkPort(m[1]); why != "" {
			return false, why
		}
	}
	if !hostName.MatchString(name) {
		return false, "invalid hostname: " + s
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if strings.HasSuffix(label, "-") || label == "" && i < len(labels)-1 {
			return false, "invalid hostname: " + s
		}
	}
	return hasPort, ""
}

func checkPort(digits string) string {
	if digits == "" {
		return ""
	}
	if n, err := strconv.Atoi(digits); err != nil || n > 65535 {
		return invalidPort
	}
	return ""
}

// plainHost reads a host without a port. kind is "" if it is invalid.
func plainHost(s string) (kind, why string) {
	kind, hasPort, why := readHost(s)
	switch {
	case why != "" && why != invalidPort:
		return "", "invalid value: " + s
	case why != "":
		return "", "must not have a port"
	case hasPort:
		return kind, "must not have a port"
	}
	return kind, ""
}

func checkHost(s string) string {
	_, why := plainHost(s)
	return why
}

// checkSNI requires a name.
func checkSNI(s string) string {
	kind, why := plainHost(s)
	if kind == "ipv4" || kind == "ipv6" {
		return "must not be an IP"
	}
	return why
}

// checkWildcardHost is checkSNI with a "*" at either end.
func checkWildcardHost(s string) string {
	if i := strings.IndexByte(s, '*'); i >= 0 {
		if i != 0 && i != len(s)-1 {
			return "wildcard must be leftmost or rightmost character"
		}
		if strings.Count(s, "*") > 1 {
			return "only one wildcard must be specified"
		}
		s = strings.Replace(s, "*", "wildcard", 1)
	}
	return checkSNI(s)
}

// checkRouterHost checks a host of a route, which may have a port. The schema checks
// the wildcard before.
func checkRouterHost(s string) string {
	_, _, why := readHost(strings.ReplaceAll(s, "*", "abc"))
	return why
}

func checkIPOrCIDR(s string) string {
	address, bits, isCIDR := strings.Cut(s, "/")
	a, err := netip.ParseAddr(address)
	if err == nil && a.Zone() == "" {
		n, err := strconv.Atoi(bits)
		if !isCIDR || err == nil && strconv.Itoa(n) == bits && n >= 0 && n <= a.BitLen() {
			return ""
		}
	}
	return fmt.Sprintf("invalid ip or cidr range: '%s'", s)
}
