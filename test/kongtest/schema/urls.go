package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var schemeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.\-]*$`)

// splitURL reads a URL as LuaSocket does: the text before the first colon may be a
// scheme, a URL without "//" has no host, and the path ends at a ";".
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

// spreadServiceURL splits the url of a service. A missing scheme follows from the port,
// a missing port from the scheme. Kong formats any value as text first, so null is an
// invalid URL.
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

// checkRouterPath requires a plain path in its normal form, or "~" and a regular
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

// unsupportedByRouter are features of PCRE that the router, which is written in Rust,
// lacks.
var unsupportedByRouter = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^(?:\\.|[^\\])*?\(\?<?[=!]`), "look-around, including look-ahead and look-behind, is not supported"},
	{regexp.MustCompile(`^(?:\\[^1-9]|[^\\])*?\\[1-9]`), "backreferences are not supported"},
}

// checkRouterExpression compiles the paths of a route as the router does. Kong's message
// also has the whole expression.
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

// normalPath decodes needless escapes and removes dot segments.
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
