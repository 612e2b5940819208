package schema

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// validatorFuncs are Kong's custom validators, by their name in the schema files.
// They return an error message, or "".
var validatorFuncs = map[string]func(any) string{
	"tag":           onString(checkTag),
	"utf8_name":     onString(checkUTF8Name),
	"host":          onString(checkHost),
	"wildcard_host": onString(checkWildcardHost),
	"router_host":   onString(checkRouterHost),
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
	"pre_function":   onString(checkLua("error parsing pre-function")),
	"post_function":  onString(checkLua("error parsing post-function")),
	"lua_code":       onString(checkLua("Error parsing function: " + sandboxPath + ":144")),
	"name_and_value": onString(checkNameAndValue),

	"rate_limits":           onTable(checkRateLimits),
	"response_limits_order": onTable(checkLimitsOrder("the")),
	"request_termination":   onTable(checkRequestTermination),
	"http_log_auth":         onTable(checkHTTPLogAuth),
	"oauth2_flows":          onTable(checkOAuth2Flows),
}

// entityFuncs are Kong's custom entity checks. They get the fields that the check
// names.
var entityFuncs = map[string]func(map[string]any) string{
	"proxy_cache_dictionary": checkProxyCacheDictionary,
	"aws_proxy_url":          checkAWSProxyURL,
	"path_handling":          func(map[string]any) string { return "" }, // only logs a warning
	"router_expression":      checkRouterExpression,
}

// shorthandFuncs are the shorthands that convert their value.
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

// invalidUTF8 is the error for text that is not UTF-8, or "".
func invalidUTF8(s string) string {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Sprintf("invalid utf-8 character sequence detected at position %d", i+1)
		}
		i += size
	}
	return ""
}

func checkTag(s string) string {
	if why := invalidUTF8(s); why != "" {
		return why
	}
	bad := strings.ContainsAny(s, ",/") ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	if bad {
		return fmt.Sprintf("invalid tag '%s': expected printable ascii (except `,` and `/`) or valid utf-8 sequences", s)
	}
	return ""
}

func checkUTF8Name(s string) string {
	if why := invalidUTF8(s); why != "" {
		return why
	}
	for _, r := range s {
		if r < utf8.RuneSelf && !isLetter(byte(r)) && !isDigit(byte(r)) && !strings.ContainsRune(".-_~", r) {
			return fmt.Sprintf("invalid value '%s': the only accepted ascii characters are alphanumerics or ., -, _, and ~", s)
		}
	}
	return ""
}

// reservedPath matches the characters that a path may have (RFC 3986).
var reservedPath = regexp.MustCompile(`^/[A-Za-z0-9.\-_~/%:@!$&'()*+,;=]*$`)

func checkPath(s string) string {
	if !reservedPath.MatchString(s) {
		return fmt.Sprintf("invalid path: '%s' (characters outside of the reserved list of RFC 3986 found)", s)
	}
	return checkEncoding(s)
}

// checkEncoding refuses a "%" that begins no escape. Kong replaces valid escapes with
// underscores first, and its message shows the result.
func checkEncoding(s string) string {
	s = percentEncoded.ReplaceAllString(s, "___")
	if i := strings.IndexByte(s, '%'); i >= 0 {
		return fmt.Sprintf("invalid url-encoded value: '%s'", s[i:min(i+3, len(s))])
	}
	return ""
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
