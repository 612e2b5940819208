package plugin

import (
	"encoding/json"
	"hash/maphash"
	"slices"
)

// seed makes fingerprints meaningful in this process only. They reveal nothing about a
// config.
var seed = maphash.MakeSeed()

// Fingerprint identifies the state of a live plugin. It is the same for two answers of Kong
// that show an unchanged plugin, whatever the order of its sets, and almost certainly
// another one after a write. It is never 0. It means nothing in another process.
func Fingerprint(p Plugin) uint64 {
	var hash maphash.Hash
	hash.SetSeed(seed)
	p.Protocols = slices.Sorted(slices.Values(p.Protocols))
	p.Tags = slices.Sorted(slices.Values(p.Tags))
	config := unordered(p.Config)
	p.Config = nil
	// json writes the keys of maps in order, and encodes whatever it decoded.
	_ = json.NewEncoder(&hash).Encode(p)
	_ = json.NewEncoder(&hash).Encode(config)
	return max(hash.Sum64(), 1)
}

// unordered returns a value whose lists are sorted. Only the schema tells which lists are
// sets; a list that is not a set changes its order only with a new UpdatedAt.
func unordered(value any) any {
	switch v := value.(type) {
	case map[string]any:
		sorted := make(map[string]any, len(v))
		for key, element := range v {
			sorted[key] = unordered(element)
		}
		return sorted
	case []any:
		texts := make([]string, len(v))
		for i, element := range v {
			text, _ := json.Marshal(unordered(element))
			texts[i] = string(text)
		}
		slices.Sort(texts)
		return texts
	default:
		return value
	}
}
