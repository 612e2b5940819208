package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// maxName is the length of a DNS label.
const (
	maxName    = 63
	hashLength = 8
)

var (
	otherCharacters = regexp.MustCompile(`[^a-z0-9]+`)
	validLabel      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// label makes a DNS label of some words. What is too long is cut, and ends in a hash of key.
func label(key string, words ...string) string {
	name := strings.Trim(otherCharacters.ReplaceAllString(strings.ToLower(strings.Join(words, "-")), "-"), "-")
	if name == "" || len(name) > maxName {
		return hashed(name, key)
	}
	return name
}

// hashed adds a hash of key to a name.
func hashed(name, key string) string {
	sum := sha256.Sum256([]byte(key))
	name = strings.Trim(name[:min(len(name), maxName-hashLength-1)], "-")
	return strings.TrimPrefix(name+"-"+hex.EncodeToString(sum[:])[:hashLength], "-")
}

// names gives each object of a kind and namespace a name of its own. A name depends only on the
// object and on whether others want the same: not on their order.
type names struct {
	taken  map[string]bool
	wanted map[string]int
}

func newNames() *names { return &names{taken: map[string]bool{}, wanted: map[string]int{}} }

// take says that an object of the cluster has the name.
func (n *names) take(kind, namespace, name string) { n.taken[place(kind, namespace, name)] = true }

// want says that an object to print would like the name.
func (n *names) want(kind, namespace, name string) { n.wanted[place(kind, namespace, name)]++ }

// get returns the name, or the name with a hash of key if others have or want it, too.
func (n *names) get(kind, namespace, name, key string) string {
	if at := place(kind, namespace, name); n.taken[at] || n.wanted[at] > 1 {
		return hashed(name, key)
	}
	return name
}

func place(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }
