package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/kong/go-kong/kong"
)

const (
	editionCommunity  = "community"
	editionEnterprise = "enterprise"
	databaseOff       = "off"

	// Longer values do not come from a Kong.
	maxVersion = 128
	maxWord    = 64
)

// Info is what a Kong says about itself.
type Info struct {
	// Version such as "3.9.1" or "3.9.1.0".
	Version string
	// Edition is "community" or "enterprise".
	Edition string
	// Database is "postgres", or "off" in DB-less mode.
	Database string
	// NodeID of the node that answered; behind one address there can be several.
	NodeID string
	// DatabaseReachable says whether Kong reaches its database; false in DB-less mode.
	DatabaseReachable bool
	// Installed are the plugins that this Kong has (available_on_server), with their
	// versions, as text to compare.
	Installed string
}

// AtLeast says whether the version is known and not below major.minor.
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

// Enterprise says whether this is Kong Gateway Enterprise, which has workspaces, consumer
// groups and the ordering of plugins.
func (i Info) Enterprise() bool { return i.Edition == editionEnterprise }

// DBLess says whether this Kong runs without a database, so that nothing can be written.
func (i Info) DBLess() bool { return i.Database == databaseOff }

// Probe asks Kong what it is. It decides whether this client believes a 404 from now on:
// only after a probe that showed a Kong in DB mode with its database and the workspace
// in reach, and until one that does not.
//
//   - nil: a Kong answered. Look at DBLess, and at DatabaseReachable: when the database is
//     down, Kong says little more than that, and the other fields are mostly empty.
//   - NotKong: something answered that is not an Admin API.
//   - Unsupported: Settings name a workspace and this edition has none; Info is complete.
//   - NotFound: that workspace does not exist; Info is complete.
//   - Denied, Throttled, TLS, Unavailable: as everywhere.
func (c *Client) Probe(ctx context.Context) (Info, error) {
	info, installed, failed := c.probe(ctx)
	c.trusted.Store(failed == nil && info.DatabaseReachable && !info.DBLess())
	if failed != nil {
		return info, failed
	}
	if info.DatabaseReachable || info.DBLess() {
		c.schemas.belongTo(info.Version + " " + installed)
	}
	return info, nil
}

const (
	opProbe       = "probe Kong"
	notAnAdminAPI = "this is not an Admin API of Kong"
)

// probe returns, besides Info, the installed plugins with their versions as Kong wrote
// them: what the schemas depend on.
func (c *Client) probe(ctx context.Context) (Info, string, *Error) {
	r := request{op: opProbe, method: http.MethodGet, path: "/", global: true}
	a, failed := c.send(ctx, r)
	if failed == nil && a.status == http.StatusForbidden && c.settings.Workspace != "" {
		// A token that is good for one workspace only is refused at the root.
		inside := request{op: opProbe, method: http.MethodGet, path: "/kong"}
		if b, failed := c.call(ctx, inside, http.StatusOK); failed == nil {
			a = b
		}
	}
	switch {
	case failed != nil:
		return Info{}, "", failed
	case a.status == http.StatusInternalServerError:
		info, failed := c.probeDatabase(ctx, r, a)
		return info, "", failed
	case a.status != http.StatusOK:
		return Info{}, "", c.notRoot(r, a)
	}
	info, installed, failed := decodeRoot(r, a)
	if failed == nil && !info.DBLess() {
		failed = c.probeWorkspace(ctx, info)
	}
	return info, installed, failed
}

// notRoot says what an answer other than 200 to a request for the root means.
func (c *Client) notRoot(r request, a response) *Error {
	e := c.errorFromResponse(r, a)
	known := e.Reason == Denied || e.Reason == Throttled || e.Reason == TLS
	if known || a.status >= http.StatusInternalServerError || isRedirect(a.status) {
		return e
	}
	e.Reason = NotKong
	e.Message = notAnAdminAPI
	body, _ := a.kongError()
	switch {
	case a.isExactly("Not found"):
		e.Message = "not the root of an Admin API of Kong; is the path of adminURL right?"
	case strings.HasPrefix(body.Message, "no Route matched"):
		e.Message += "; it looks like a proxy port of Kong, and adminURL needs the Admin API's"
	}
	return e
}

// root is what GET / answers, as far as it matters here.
type root struct {
	Version       *string `json:"version"`
	Edition       string  `json:"edition"`
	NodeID        string  `json:"node_id"`
	Configuration *struct {
		Database *string `json:"database"`
	} `json:"configuration"`
	Plugins struct {
		Available json.RawMessage `json:"available_on_server"`
	} `json:"plugins"`
}

func decodeRoot(r request, a response) (Info, string, *Error) {
	notKong := &Error{Reason: NotKong, Op: r.op, Status: a.status, Message: notAnAdminAPI}
	if !a.isJSON() && len(a.body) > 0 {
		return Info{}, "", notKong
	}
	if !json.Valid(a.body) {
		return Info{}, "", r.malformed(a, "the answer is not JSON")
	}
	var body root
	if json.Unmarshal(a.body, &body) != nil || body.Version == nil || *body.Version == "" ||
		body.Configuration == nil || body.Configuration.Database == nil || *body.Configuration.Database == "" {
		return Info{}, "", notKong
	}
	info := Info{
		Version:  truncate(*body.Version, maxVersion),
		Edition:  truncate(edition(*body.Version, body.Edition), maxWord),
		Database: truncate(*body.Configuration.Database, maxWord),
		NodeID:   truncate(body.NodeID, maxWord),
	}
	info.DatabaseReachable = !info.DBLess()
	var available map[string]any
	if json.Unmarshal(body.Plugins.Available, &available) != nil {
		available = nil // an empty table of Lua is written as a list
	}
	installed, err := json.Marshal(available) // sorted
	if err != nil {
		return Info{}, "", r.malformed(a, "the answer is not JSON")
	}
	info.Installed = string(installed)
	return info, info.Installed, nil
}

// edition of a Kong; before 3.0 only the version tells: 2.8.1.4-enterprise-edition.
func edition(version, said string) string {
	switch {
	case said != "":
		return said
	case strings.Contains(version, editionEnterprise), strings.Count(version, ".") > 2:
		return editionEnterprise
	}
	return editionCommunity
}

// probeDatabase tells, after a 500, a Kong whose database is down from one that is broken:
// GET /status still answers then.
func (c *Client) probeDatabase(ctx context.Context, r request, a response) (Info, *Error) {
	broken := c.errorFromResponse(r, a)
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

// probeWorkspace makes sure that requests into the workspace reach it: a path that Kong
// does not know answers 404 just as an entity that does not exist.
func (c *Client) probeWorkspace(ctx context.Context, info Info) *Error {
	if c.settings.Workspace == "" {
		return nil
	}
	if !info.Enterprise() {
		return &Error{Reason: Unsupported, Op: opProbe, Message: "a workspace is set, and this edition of Kong has none"}
	}
	r := request{op: opProbe, method: http.MethodGet, path: "/plugins", query: url.Values{"size": {"1"}}}
	a, failed := c.call(ctx, r, http.StatusOK)
	if failed == nil {
		_, failed = decodePage(r, a)
		return failed
	}
	if _, ok := a.kongError(); ok && failed.Status == http.StatusNotFound {
		return &Error{Reason: NotFound, Op: opProbe, Status: failed.Status, Message: "the workspace does not exist"}
	}
	return failed
}
