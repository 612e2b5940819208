package plugin

import (
	"encoding/json"
	"hash/maphash"
	"slices"
)

// seed makes fingerprints of this process alone: they are compared with each other and
// never leave it, so that nothing can be learnt from one about a config.
var seed = maphash.MakeSeed()

// Fingerprint is the same for two answers of Kong that show an untouched plugin, whatever
// the order of its sets, and almost certainly different for one that was written to in
// between. It is never 0. It means nothing in another process.
func Fingerprint(p Plugin) uint64 {
	var hash maphash.Hash
	hash.SetSeed(seed)
	p.Protocols = slices.Sorted(slices.Values(p.Protocols))
	p.Tags = slices.Sorted(slices.Values(p.Tags))
	config := unordered(p.Config)
	p.Config = nil
	// json writes the keys of maps in order; what it decoded it can encode.
	_ = json.NewEncoder(&hash).Encode(p)
	_ = json.NewEncoder(&hash).Encode(config)
	return max(hash.Sum64(), 1)
}

// unordered returns a value whose lists are sorted: which of them are sets the schema
// would tell, and a changed order of one that is not comes with another update time.
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
