package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/kong/go-kong/kong"
)

const (
	editionCommunity  = "community"
	editionEnterprise = "enterprise"
	databaseOff       = "off"
	databasePostgres  = "postgres"

	// Bounds in bytes; Kong sends no longer values.
	maxVersion = 128
	maxWord    = 64
	// maxInstalled bounds Info.Installed in bytes; Kong 3.9 has 3 kB.
	maxInstalled = 64 << 10
)

// Info is what a Kong reports about itself.
type Info struct {
	// Version such as "3.9.1" or "3.9.1.0".
	Version string
	// Edition is "community" or "enterprise".
	Edition string
	// Database is "postgres", or "off" in DB-less mode.
	Database string
	// NodeID of the node that responded. One address can lead to several nodes.
	NodeID string
	// ClusterKey identifies the database of this Kong: the Kongs of two addresses with the same
	// ClusterKey are one Kong. It is a digest of the database's host, port, name and schema. It
	// is empty if Kong does not show these, or if the host means another machine to another
	// Kong (loopback, a socket, a host name without a domain). So an empty ClusterKey proves
	// nothing. The same NodeID at two addresses proves that they are one Kong as well.
	ClusterKey string
	// DatabaseReachable reports whether Kong reaches its database; false in DB-less mode.
	DatabaseReachable bool
	// Installed holds the plugins of this Kong (available_on_server) with their versions,
	// as text to compare; a digest of them if they are longer than 64 KiB.
	Installed string
}

// AtLeast reports whether the version is known and at least major.minor.
func (i Info) AtLeast(major, minor int) bool {
	v, err := kong.ParseSemanticVersion(i.Version)
	if err != nil || major < 0 || minor < 0 {
		return false
	}
	if v.Major() != uint64(major) {
		return v.Major() > uint64(major)
	}
	return v.Minor() >= uint64(minor)
}

// Enterprise reports whether this is Kong Gateway Enterprise, which has workspaces, consumer
// groups and plugin ordering.
func (i Info) Enterprise() bool { return i.Edition == editionEnterprise }

// DBLess reports whether this Kong runs without a database and so accepts no writes.
func (i Info) DBLess() bool { return i.Database == databaseOff }

// Probe reads what Kong reports about itself. It also decides whether this client accepts a
// 404 as proof of absence until the next probe. It does if the probe shows a Kong in DB mode
// that reaches its database, and the workspace exists.
//
// Its result is one of these:
//
//   - nil: a Kong responded. Check DBLess and DatabaseReachable. While the database is down,
//     Kong reports little, and most other fields are empty.
//   - NotKong: the server is not an Admin API of Kong.
//   - Unsupported: Settings name a workspace and this edition has none. Info is complete.
//   - NotFound: that workspace does not exist. Info is complete.
//   - Denied, Throttled, TLS, Unavailable: see Reason.
func (c *Client) Probe(ctx context.Context) (Info, error) {
	info, installed, failed := c.probe(withPriority(ctx, probing))
	c.notFoundTrusted.Store(failed == nil && info.DatabaseReachable && !info.DBLess())
	if failed != nil {
		return info, failed
	}
	if info.DatabaseReachable || info.DBLess() {
		c.schemas.invalidateUnless(info.Version + " " + installed)
	}
	return info, nil
}

const (
	opProbe       = "probe Kong"
	notAnAdminAPI = "this is not an Admin API of Kong"
)

// probe returns Info and the installed plugins with their versions, on which the schemas
// depend.
func (c *Client) probe(ctx context.Context) (Info, string, *Error) {
	r := request{op: opProbe, method: http.MethodGet, path: "/", global: true}
	resp, failed := c.send(ctx, r)
	if failed == nil && resp.status == http.StatusForbidden && c.settings.Workspace != "" {
		// Kong refuses its root to a token that is valid for one workspace only.
		inside := request{op: opProbe, method: http.MethodGet, path: "/kong"}
		if insideResp, failed := c.call(ctx, inside, http.StatusOK); failed == nil {
			resp = insideResp
		}
	}
	switch {
	case failed != nil:
		return Info{}, "", failed
	case resp.status == http.StatusInternalServerError:
		info, failed := c.probeDatabase(ctx, r, resp)
		return info, "", failed
	case resp.status != http.StatusOK:
		return Info{}, "", c.notRoot(r, resp)
	}
	info, installed, failed := decodeRoot(r, resp)
	if failed == nil && !info.DBLess() {
		failed = c.probeWorkspace(ctx, info)
	}
	return info, installed, failed
}

// notRoot returns the Error for a response other than 200 to a request for the root.
func (c *Client) notRoot(r request, resp response) *Error {
	e := c.errorFromResponse(r, resp)
	known := e.Reason == Denied || e.Reason == Throttled || e.Reason == TLS
	if known || resp.status >= http.StatusInternalServerError || isRedirect(resp.status) {
		return e
	}
	e.Reason = NotKong
	e.Message = notAnAdminAPI
	body, _ := resp.kongError()
	switch {
	case resp.isExactly("Not found"):
		e.Message = "not the root of an Admin API of Kong; is the path of adminURL right?"
	case strings.HasPrefix(body.Message, "no Route matched"):
		e.Message += "; it looks like the proxy port of Kong, and adminURL must point to the Admin API"
	}
	return e
}

// root is the part of the response to GET / that the client uses.
type root struct {
	Version       *string `json:"version"`
	Edition       string  `json:"edition"`
	NodeID        string  `json:"node_id"`
	Configuration *struct {
		Database *string `json:"database"`

		PostgresHost     textOrNumber `json:"pg_host"`
		PostgresPort     textOrNumber `json:"pg_port"`
		PostgresDatabase textOrNumber `json:"pg_database"`
		PostgresSchema   textOrNumber `json:"pg_schema"`
	} `json:"configuration"`
	Plugins struct {
		Available json.RawMessage `json:"available_on_server"`
	} `json:"plugins"`
}

// textOrNumber is a setting in the configuration of Kong. It is empty for everything else: Kong
// writes an unset one as an empty object.
type textOrNumber string

func (t *textOrNumber) UnmarshalJSON(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*t = textOrNumber(v)
	case float64:
		*t = textOrNumber(strconv.FormatFloat(v, 'f', -1, 64))
	default:
		*t = ""
	}
	return nil
}

func decodeRoot(r request, resp response) (Info, string, *Error) {
	notKong := &Error{Reason: NotKong, Op: r.op, Status: resp.status, Message: notAnAdminAPI}
	if !resp.isJSON() && len(resp.body) > 0 {
		return Info{}, "", notKong
	}
	if !json.Valid(resp.body) {
		return Info{}, "", r.malformed(resp, "the response is not JSON")
	}
	var body root
	if json.Unmarshal(resp.body, &body) != nil || body.Version == nil || *body.Version == "" ||
		body.Configuration == nil || body.Configuration.Database == nil || *body.Configuration.Database == "" {
		return Info{}, "", notKong
	}
	info := Info{
		Version:  truncate(*body.Version, maxVersion),
		Edition:  truncate(edition(*body.Version, body.Edition), maxWord),
		Database: truncate(*body.Configuration.Database, maxWord),
		NodeID:   truncate(body.NodeID, maxWord),
	}
	info.ClusterKey = body.clusterKey()
	info.DatabaseReachable = !info.DBLess()
	var available map[string]any
	if json.Unmarshal(body.Plugins.Available, &available) != nil {
		available = nil // Kong encodes an empty Lua table as a list
	}
	installed, err := json.Marshal(available) // sorted
	if err != nil {
		return Info{}, "", r.malformed(resp, "the response is not JSON")
	}
	if len(installed) > maxInstalled {
		digest := sha256.Sum256(installed)
		installed = []byte(hex.EncodeToString(digest[:]))
	}
	info.Installed = string(installed)
	return info, info.Installed, nil
}

// clusterKey returns Info.ClusterKey.
func (b root) clusterKey() string {
	conf := b.Configuration
	host := canonicalName(string(conf.PostgresHost))
	ip, err := netip.ParseAddr(host)
	switch {
	case *conf.Database != databasePostgres, conf.PostgresPort == "", conf.PostgresDatabase == "":
		return ""
	case err == nil && special(ip), err != nil && (!strings.Contains(host, ".") || strings.Contains(host, "/")):
		return ""
	}
	digest := sha256.New()
	for _, part := range []string{"kong cluster", host, string(conf.PostgresPort), string(conf.PostgresDatabase), string(conf.PostgresSchema)} {
		_, _ = fmt.Fprintf(digest, "%d:%s", len(part), part) // a hash accepts everything
	}
	return hex.EncodeToString(digest.Sum(nil)[:16])
}

// edition returns the edition of a Kong. Before 3.0 only the version shows it:
// 2.8.1.4-enterprise-edition.
func edition(version, reported string) string {
	switch {
	case reported != "":
		return reported
	case strings.Contains(version, editionEnterprise), strings.Count(version, ".") > 2:
		return editionEnterprise
	}
	return editionCommunity
}

// probeDatabase distinguishes, after a 500, a Kong whose database is down from a broken Kong:
// the former still answers GET /status.
func (c *Client) probeDatabase(ctx context.Context, r request, resp response) (Info, *Error) {
	broken := c.errorFromResponse(r, resp)
	status, failed := c.call(ctx, request{op: opProbe, method: http.MethodGet, path: "/status", global: true}, http.StatusOK)
	if failed != nil {
		return Info{}, broken
	}
	var body struct {
		Database *struct {
			Reachable *bool `json:"reachable"`
		} `json:"database"`
	}
	if json.Unmarshal(status.body, &body) != nil || body.Database == nil || body.Database.Reachable == nil || *body.Database.Reachable {
		return Info{}, broken
	}
	version, _ := strings.CutPrefix(status.header.Get("Server"), "kong/")
	return Info{Version: truncate(version, maxVersion)}, nil
}

// probeWorkspace verifies that the workspace exists. Without it, every request would get the
// 404 of a missing entity.
func (c *Client) probeWorkspace(ctx context.Context, info Info) *Error {
	if c.settings.Workspace == "" {
		return nil
	}
	if !info.Enterprise() {
		return &Error{Reason: Unsupported, Op: opProbe, Message: "a workspace is set, and this edition of Kong has no workspaces"}
	}
	r := request{op: opProbe, method: http.MethodGet, path: "/plugins", query: url.Values{"size": {"1"}}}
	resp, failed := c.call(ctx, r, http.StatusOK)
	if failed == nil {
		_, failed = decodePage(r, resp)
		return failed
	}
	if _, ok := resp.kongError(); ok && failed.Status == http.StatusNotFound {
		return &Error{Reason: NotFound, Op: opProbe, Status: failed.Status, Message: "the workspace does not exist"}
	}
	return failed
}
