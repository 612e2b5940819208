package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// The API server's audit log has one line per request. So it counts exactly, including writes
// that change nothing and events, which neither resource versions nor managed fields show. The
// operator has a user of its own, and the policy omits all others. It also omits the namespace of the
// Lease, which the operator renews every two seconds, whatever it does.
const (
	operatorUser      = "kong-plugin-operator"
	operatorNamespace = "kong-plugin-operator-system"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  namespaces: [` + operatorNamespace + `]
- level: Metadata
  users: [` + operatorUser + `]
- level: None
`

// auditLog reads what was appended to the log.
type auditLog struct {
	path   string
	offset int64
}

type auditLine struct {
	Verb      string `json:"verb"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// next counts the operator's requests since the last call by verb and resource, reads and
// writes separately. A watch counts when it ends.
func (a *auditLog) next() (reads, writes map[string]int, err error) {
	reads, writes = map[string]int{}, map[string]int{}
	file, err := os.Open(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return reads, writes, nil // no request yet
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may still be written
	a.offset += int64(len(text))
	for raw := range bytes.Lines(text) {
		var line auditLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, nil, err
		}
		count, name := reads, line.Verb+" "+line.ObjectRef.Resource
		if line.ObjectRef.Subresource != "" {
			name += "/" + line.ObjectRef.Subresource
		}
		switch line.Verb {
		case "get", "list", "watch":
		default:
			count = writes
		}
		count[name]++
	}
	return reads, writes, nil
}
