package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var schemeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.\-]*$`)

// splitURL reads a URL as LuaSocket does: whatever comes before the first colon may
// be a scheme, anything without "//" has no host, and what follows a ";" is no path.
func splitURL(s string) (scheme, host, port, path string) {
	s, _, _ = strings.Cut(s, "#")
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
	path, _, _ = strings.Cut(path, ";")
	host, _, _ = strings.Cut(host, "?")
	if i := strings.IndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return scheme, host, port, path
}

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

// spreadServiceURL takes a service's url apart; a scheme that is not there follows
// from the port, and the port from the scheme. Kong prints whatever it is given
// before it reads it, so that a null is a URL, too, and a bad one.
func spreadServiceURL(v any) map[string]any {
	s, ok := v.(string)
	if !ok {
		s = "userdata: NULL"
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

// checkRouterPath takes a plain path in its normal form, or "~" and a regular
// expression. A plain path may have any characters.
func checkRouterPath(s string) string {
	if reservedPath.MatchString(s) {
		if why := checkEncoding(s); why != "" {
			return why
		}
	}
	if re, ok := strings.CutPrefix(s, "~"); ok {
		if why := regexProblem(re); why != "" {
			return "invalid regex: '" + re + "' (PCRE returned: " + why + ")"
		}
		return ""
	}
	if normal := normalPath(s); normal != s {
		return fmt.Sprintf("non-normalized path, consider use '%s' instead", normal)
	}
	return ""
}

// unsupportedByRouter are what PCRE reads in an expression and the router, which is
// written in Rust, does not.
var unsupportedByRouter = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^(?:\\.|[^\\])*?\(\?<?[=!]`), "look-around, including look-ahead and look-behind, is not supported"},
	{regexp.MustCompile(`^(?:\\[^1-9]|[^\\])*?\\[1-9]`), "backreferences are not supported"},
}

// checkRouterExpression has the router compile what a route matches by. Where Kong
// prints the whole expression with the error in it, this has the error alone.
func checkRouterExpression(route map[string]any) string {
	paths, _ := route["paths"].([]any)
	for _, p := range paths {
		s, _ := p.(string)
		re, isRegex := strings.CutPrefix(s, "~")
		for _, strange := range unsupportedByRouter {
			if isRegex && strange.pattern.MatchString(re) {
				return "Router Expression failed validation: " + strange.why
			}
		}
	}
	return ""
}

var percentEncoded = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// normalPath decodes what need not be encoded and removes dot segments.
func normalPath(s string) string {
	s = percentEncoded.ReplaceAllStringFunc(s, func(m string) string {
		n, _ := strconv.ParseUint(m[1:], 16, 8) // two hexadecimal digits
		if strings.IndexByte("!#$%&'()*+,/:;=?@[]", byte(n)) >= 0 {
			return strings.ToUpper(m)
		}
		return string([]byte{byte(n)})
	})
	if !strings.Contains(s, ".") {
		return s
	}
	return removeDotSegments(s)
}

func removeDotSegments(s string) string {
	segments := strings.Split(strings.TrimPrefix(s, "/"), "/")
	var out []string
	for i, segment := range segments {
		switch segment {
		case ".", "..":
			if segment == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if i == len(segments)-1 {
				out = append(out, "")
			}
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}
