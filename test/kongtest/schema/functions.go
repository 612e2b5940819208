package schema

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// validatorFuncs are Kong's custom validators, by the name the schema files use.
// They return what is wrong, or "".
var validatorFuncs = map[string]func(any) string{
	"tag":           onString(checkTag),
	"utf8_name":     onString(checkUTF8Name),
	"host":          onString(checkHost),
	"wildcard_host": onString(checkWildcardHost),
	"sni":           onString(checkSNI),
	"url":           onString(checkURL),
	"path":          onString(checkPath),
	"router_path":   onString(checkRouterPath),
	"header_name":   onString(checkHeaderName),
	"ip_or_cidr":    onString(checkIPOrCIDR),
	"plain_header":  onString(checkTransformedHeader),
	"colon_header":  onString(checkTransformedHeader),
	"rename_header": onString(checkRenamedHeader),
	"cors_origin":   onString(checkOrigin),
	"status_range":  onString(checkStatusRange),
	"shared_dict":   onString(checkSharedDict),

	"acme_namespace": onString(checkACMENamespace),
	"static_tags":    checkStaticTags,

	"limits_order":          onTable(checkLimitsOrder("The")),
	"response_limits_order": onTable(checkLimitsOrder("the")),
	"request_termination":   onTable(checkRequestTermination),
	"http_log_auth":         onTable(checkHTTPLogAuth),
	"oauth2_flows":          onTable(checkOAuth2Flows),
}

// entityFuncs are Kong's custom entity checks; they see the fields they name.
var entityFuncs = map[string]func(map[string]any) string{
	"proxy_cache_dictionary": checkProxyCacheDictionary,
	"aws_proxy_url":          checkAWSProxyURL,
}

// shorthandFuncs are the shorthands that are more than another name of a field.
var shorthandFuncs = map[string]func(any) map[string]any{
	"service_url":       spreadServiceURL,
	"session_same_site": spreadSameSite,
}

func onString(check func(string) string) func(any) string {
	return func(v any) string {
		s, ok := v.(string)
		if !ok {
			return ""
		}
		return check(s)
	}
}

func onTable(check func(map[string]any) string) func(any) string {
	return func(v any) string {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		return check(m)
	}
}

func checkTag(s string) string {
	bad := !utf8.ValidString(s) || strings.ContainsAny(s, ",/") ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	if bad {
		return fmt.Sprintf("invalid tag '%s': expected printable ascii (except `,` and `/`) or valid utf-8 sequences", s)
	}
	return ""
}

func checkUTF8Name(s string) string {
	if !utf8.ValidString(s) {
		return fmt.Sprintf("invalid value '%s': must be valid utf-8", s)
	}
	for _, r := range s {
		if r < utf8.RuneSelf && !isLetter(byte(r)) && !isDigit(byte(r)) && !strings.ContainsRune(".-_~", r) {
			return fmt.Sprintf("invalid value '%s': the only accepted ascii characters are alphanumerics or ., -, _, and ~", s)
		}
	}
	return ""
}

// splitHostPort tells a host from a port; hasPort also when the port is no number.
func splitHostPort(s string) (host string, hasPort bool) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return s, false
		}
		return s[1:end], end+1 < len(s)
	}
	if strings.Count(s, ":") == 1 {
		host, _, _ = strings.Cut(s, ":")
		return host, true
	}
	return s, false
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_.\-]+$`)

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return hostName.MatchString(host) && !strings.HasPrefix(host, ".") && !strings.Contains(host, "..") && !looksLikeIP(host)
}

// looksLikeIP: four numbers are an address, and a bad one at that if it did not parse.
func looksLikeIP(host string) bool {
	parts := strings.Split(host, ".")
	return len(parts) == 4 && !slices.ContainsFunc(parts, func(p string) bool {
		_, err := strconv.Atoi(p)
		return err != nil
	})
}

func checkHost(s string) string {
	host, hasPort := splitHostPort(s)
	switch {
	case !validHost(host):
		return "invalid value: " + s
	case hasPort:
		return "must not have a port"
	}
	return ""
}

func checkWildcardHost(s string) string {
	if n := strings.Count(s, "*"); n > 0 {
		if n > 1 {
			return "invalid wildcard: must have at most one wildcard"
		}
		if !strings.HasPrefix(s, "*.") && !strings.HasSuffix(s, ".*") {
			return "invalid wildcard: must be placed at leftmost or rightmost label"
		}
		s = strings.Replace(s, "*", "wildcard", 1)
	}
	host, _ := splitHostPort(s)
	if !validHost(host) {
		return "invalid value: " + s
	}
	return ""
}

func checkSNI(s string) string {
	host, hasPort := splitHostPort(s)
	_, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return "must not be an IP"
	case !validHost(host):
		return "invalid value: " + s
	case hasPort:
		return "must not have a port"
	}
	return ""
}

// splitURL reads a URL as LuaSocket does: anything without "//" has no host.
func splitURL(s string) (scheme, host, port, path string) {
	if i := strings.IndexByte(s, '#'); i >= 0 {
		s = s[:i]
	}
	if before, after, ok := strings.Cut(s, ":"); ok && schemeName.MatchString(before) {
		scheme, s = before, after
	}
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		end := strings.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		host, s = rest[:end], rest[end:]
	}
	path, _, _ = strings.Cut(s, "?")
	host, _, _ = strings.Cut(host, "?")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	return scheme, host, port, path
}

var schemeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.\-]*$`)

func checkURL(s string) string {
	scheme, host, _, _ := splitURL(s)
	switch {
	case host == "":
		return "missing host in url"
	case scheme == "":
		return "missing scheme in url"
	}
	return ""
}

// reservedPath is what a path may be made of: RFC 3986.
var reservedPath = regexp.MustCompile(`^/[A-Za-z0-9.\-_~/%:@!$&'()*+,;=]*$`)

func checkPath(s string) string {
	if !reservedPath.MatchString(s) {
		return fmt.Sprintf("invalid path: '%s' (characters outside of the reserved list of RFC 3986 found)", s)
	}
	return checkEncoding(s)
}

func checkEncoding(s string) string {
	for i := strings.IndexByte(s, '%'); i >= 0; {
		if _, err := url.PathUnescape(s[i:min(i+3, len(s))]); err != nil {
			return fmt.Sprintf("invalid url-encoded value: '%s'", s[i:min(i+3, len(s))])
		}
		next := strings.IndexByte(s[i+1:], '%')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return ""
}

func checkRouterPath(s string) string {
	if re, ok := strings.CutPrefix(s, "~"); ok {
		if !validRegex(re) {
			return fmt.Sprintf("invalid regex: '%s'", re)
		}
		return ""
	}
	return checkPath(s)
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9\-_]+$`)

func checkHeaderName(s string) string {
	if s == "" {
		return "no header name provided"
	}
	if !headerName.MatchString(s) {
		return fmt.Sprintf("bad header name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'", s)
	}
	return ""
}

func checkIPOrCIDR(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return ""
	}
	return fmt.Sprintf("invalid ip or cidr range: '%s'", s)
}

// spreadServiceURL takes a service's url apart; a scheme that is not there
// follows from the port, and the port from the scheme.
func spreadServiceURL(v any) map[string]any {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	scheme, host, port, path := splitURL(s)
	if scheme == "" {
		scheme = "http"
		if port == "443" {
			scheme = "https"
		}
	}
	return map[string]any{"protocol": scheme, "host": orNull(host), "port": servicePort(scheme, port), "path": orNull(path)}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func servicePort(scheme, port string) any {
	if n, err := strconv.ParseFloat(port, 64); err == nil {
		return n
	}
	switch {
	case port != "":
		return port
	case scheme == "https":
		return 443.0
	}
	return 80.0
}
