package plugin

import (
	"encoding/json"
	"hash/maphash"
	"math"
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
	config := hashValue(p.Config)
	unknown := uint64(0)
	for name, raw := range p.Unknown {
		unknown += hashOf('u', name, hashValue(decodedJSON(raw)))
	}
	p.Config, p.Unknown = nil, nil
	// json writes the keys of maps in order.
	_ = json.NewEncoder(&hash).Encode(p)
	maphash.WriteComparable(&hash, [2]uint64{config, unknown})
	return max(hash.Sum64(), 1)
}

// hashValue hashes a value whatever the order of its lists. Only the schema tells which lists
// are sets; a list that is not a set changes its order only with a new UpdatedAt.
func hashValue(value any) uint64 {
	switch v := value.(type) {
	case map[string]any:
		// The sum is the same in any order.
		sum := uint64(0)
		for key, element := range v {
			sum += hashOf('{', key, hashValue(element))
		}
		return hashOf('{', "", sum)
	case []any:
		sum := uint64(0)
		for _, element := range v {
			sum += hashOf('[', "", hashValue(element))
		}
		return hashOf('[', "", sum)
	case string:
		return hashOf('s', v, 0)
	case bool:
		if v {
			return hashOf('t', "", 0)
		}
		return hashOf('f', "", 0)
	}
	if n, ok := number(value); ok {
		return hashOf('n', "", math.Float64bits(n))
	}
	return hashOf('0', "", 0)
}

// hashOf hashes a value of a kind by its text or by a number.
func hashOf(kind byte, text string, n uint64) uint64 {
	return maphash.Comparable(seed, struct {
		kind byte
		text string
		n    uint64
	}{kind, text, n})
}
