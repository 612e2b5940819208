package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkLimitsOrder refuses a limit that is lower than that of a shorter period. the is
// the first word of the message, which differs between the two plugins with limits.
func checkLimitsOrder(the string) func(map[string]any) string {
	periods := []string{"second", "minute", "hour", "day", "month", "year"}
	return func(config map[string]any) string {
		for i, lower := range periods {
			low, ok := config[lower].(float64)
			if !ok {
				continue
			}
			for _, upper := range periods[i+1:] {
				if high, ok := config[upper].(float64); ok && high < low {
					return fmt.Sprintf("%s limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)", the, upper, high, lower, low)
				}
			}
		}
		return ""
	}
}

// syncRateRealtime synchronizes counters immediately.
const syncRateRealtime = -1.0

// checkRateLimits refuses a sync_rate without the policy redis.
func checkRateLimits(config map[string]any) string {
	if why := checkLimitsOrder("The")(config); why != "" {
		return why
	}
	rate, _ := config["sync_rate"].(float64)
	switch {
	case rate == syncRateRealtime:
	case config["policy"] != "redis":
		return "sync_rate can only be used with the redis policy"
	case rate < 0.02:
		return "sync_rate must be greater than 0.02, or -1 to disable"
	}
	return ""
}

// checkRequestTermination requires that a response is a message, a body or an echo.
func checkRequestTermination(config map[string]any) string {
	message, contentType, body := nonEmpty(config["message"]), nonEmpty(config["content_type"]), nonEmpty(config["body"])
	switch {
	case message && (contentType || body):
		return "message cannot be used with content_type or body"
	case contentType && !body:
		return "content_type requires a body"
	case config["echo"] == true && (contentType || body):
		return "echo cannot be used with content_type and body"
	}
	return ""
}

// checkHTTPLogAuth refuses credentials in both the URL and a header.
func checkHTTPLogAuth(config map[string]any) string {
	endpoint, _ := config["http_endpoint"].(string)
	headers, _ := config["headers"].(map[string]any)
	_, rest, _ := strings.Cut(endpoint, "//")
	authority, _, _ := strings.Cut(rest, "/")
	if !strings.Contains(authority, "@") {
		return ""
	}
	for name := range headers {
		if strings.EqualFold(name, "authorization") {
			return "specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed"
		}
	}
	return ""
}

var oauth2Flows = []string{
	"enable_authorization_code", "enable_implicit_grant", "enable_client_credentials", "enable_password_grant",
}

func checkOAuth2Flows(config map[string]any) string {
	if slices.ContainsFunc(oauth2Flows, func(flow string) bool { return config[flow] == true }) {
		return ""
	}
	return "at least one of these fields must be true: " + strings.Join(oauth2Flows, ", ")
}

// sharedDicts are the shared memory zones Kong's nginx has.
var sharedDicts = []string{
	"kong", "kong_locks", "kong_healthchecks", "kong_cluster_events", "kong_rate_limiting_counters",
	"kong_core_db_cache", "kong_core_db_cache_miss", "kong_db_cache", "kong_db_cache_miss", "kong_secrets",
	"kong_dns_cache", "prometheus_metrics",
}

func checkSharedDict(name string) string {
	if slices.Contains(sharedDicts, name) {
		return ""
	}
	return "failed validating: " + name
}

func checkProxyCacheDictionary(entity map[string]any) string {
	name, _ := getPath(entity, "config.memory.dictionary_name")
	strategy, _ := getPath(entity, "config.strategy")
	s, ok := name.(string)
	if strategy == "memory" && ok && !slices.Contains(sharedDicts, s) {
		return fmt.Sprintf("missing shared dict '%s'", s)
	}
	return ""
}

func checkAWSProxyURL(entity map[string]any) string {
	v, _ := getPath(entity, "config.proxy_url")
	if s, ok := v.(string); ok {
		if scheme, _, _, _ := splitURL(s); scheme != "http" {
			return "proxy_url scheme must be http"
		}
	}
	return ""
}

// checkTransformedHeader checks a header of a transformer: "name" or "name:value".
func checkTransformedHeader(s string) string { return checkHeaderPair(s, false) }

func checkRenamedHeader(s string) string { return checkHeaderPair(s, true) }

func checkHeaderPair(s string, valueToo bool) string {
	name, value := cutColons(s)
	switch {
	case name == "":
		return "'nil' is not a valid header"
	case checkHeaderName(name) != "":
		return fmt.Sprintf("'%s' is not a valid header", name)
	case valueToo && checkHeaderName(value) != "":
		return fmt.Sprintf("'%s' is not a valid header", value)
	}
	return ""
}

// cutColons cuts around the first colons. Text that begins with one has no name.
func cutColons(s string) (name, value string) {
	name, value, _ = strings.Cut(s, ":")
	return name, strings.TrimLeft(value, ":")
}

// checkNameAndValue requires "name:value". A missing name breaks Kong (500). A
// template in the value is not checked.
func checkNameAndValue(s string) string {
	name, value := cutColons(s)
	switch {
	case name == "":
		return brokenMark
	case value == "":
		return fmt.Sprintf("key '%s' has no value", name)
	}
	return ""
}

// checkOrigin requires "*" or a regular expression, which a plain origin is, too.
func checkOrigin(s string) string {
	if s == "*" || regexProblem(s) == "" {
		return ""
	}
	return fmt.Sprintf("'%s' is not a valid regex", s)
}

var statusRange = regexp.MustCompile(`^(\d{3})-(\d{3})$`)

func checkStatusRange(s string) string {
	m := statusRange.FindStringSubmatch(s)
	if m == nil {
		return "invalid status code range: " + s
	}
	low, _ := strconv.Atoi(m[1])
	high, _ := strconv.Atoi(m[2])
	if low > high || low < 100 || high > 999 {
		return "invalid status code range: " + s
	}
	return ""
}

func checkACMENamespace(s string) string {
	for _, word := range []string{"kong_acme:renew_config", "kong_acme:cert_key", "kong_acme:update_lock"} {
		if strings.HasPrefix(s, word) {
			return fmt.Sprintf("namespace can't be prefixed with reserved word: %s", word)
		}
	}
	return ""
}

// checkStaticTags refuses a tag that is set twice.
func checkStaticTags(v any) string {
	list, _ := v.([]any)
	seen := map[any]bool{}
	for _, e := range list {
		tag, _ := e.(map[string]any)
		name, ok := tag["name"].(string)
		if ok && seen[name] {
			return "repeated tags are not allowed: " + name
		}
		seen[name] = true
	}
	return ""
}

// spreadSameSite renames cookie_samesite of session. "off" becomes "Lax".
func spreadSameSite(v any) map[string]any {
	if v == "off" {
		v = "Lax"
	}
	return map[string]any{"cookie_same_site": v}
}
