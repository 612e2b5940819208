package adminapi

import (
	"errors"
	"time"
)

// Bounds on one response. Kong 3.9 sends about 1 kB and 60 values for a plugin, 15 kB for its
// root and up to 100 kB for a schema.
const (
	// maxEntityBody and maxPageBody are in bytes. list asks for a smaller page if one exceeds
	// maxPageBody.
	maxEntityBody = 4 << 20
	maxPageBody   = 8 << 20
	// maxSchemaBody is in bytes. A client keeps its schemas.
	maxSchemaBody = 1 << 20
	// maxValidationBody is in bytes. Kong answers with one message per field that it refuses.
	maxValidationBody = 256 << 10

	// maxEntityValues and maxPageValues count JSON values: a value of two bytes takes up to
	// 100 bytes of memory once it is decoded.
	maxEntityValues = 250_000
	maxPageValues   = 1_000_000
	// maxDepth is the nesting of JSON values. Kong's own entities nest fewer than 20.
	maxDepth = 100
)

// Bounds on one list, whatever the Admin API sends. Each page also has the bounds of a response.
const (
	// maxPages is twice what maxEntities needs.
	maxPages = 4000
	// maxPlugins and maxEntities count rows.
	maxPlugins  = 200_000
	maxEntities = 2_000_000
	// maxListBytes is the sum over the pages.
	maxListBytes = 1 << 30
	// maxOffset is the length of the offset of a page in bytes; Kong's have fewer than 200.
	maxOffset = 1 << 10

	// maxPluginsByTags and maxBytesByTags bound what PluginsByTags holds at once: it is for the
	// plugins of one owner.
	maxPluginsByTags = 1000
	maxBytesByTags   = 16 << 20
)

// Bounds on the time that one list takes, see listTimeout.
const (
	minListTimeout = 30 * time.Second
	maxListTimeout = 4 * time.Minute
)

// listTimeout is the time for a whole list, waiting included: 12 slow responses, and 100 pages
// at the configured rate. With the defaults it is 1 minute, and it is never more than 4 minutes.
func (s Settings) listTimeout() time.Duration {
	timeout := max(12*s.RequestTimeout, minListTimeout)
	if s.RequestsPerSecond > 0 {
		timeout += time.Duration(min(100/s.RequestsPerSecond, maxListTimeout.Seconds()) * float64(time.Second))
	}
	return min(timeout, maxListTimeout)
}

var (
	errTooLarge      = errors.New("the response is too large")
	errTooManyValues = errors.New("the response has too many JSON values")
	errTooDeep       = errors.New("the response nests JSON values too deeply")
)

// checkJSON checks the number of values and the nesting of a JSON text before anything decodes
// it. It allocates nothing, and leaves the syntax to encoding/json.
func checkJSON(text []byte, maxValues int) error {
	depth, values := 0, 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
		case '{', '[':
			depth++
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if depth > maxDepth {
			return errTooDeep
		}
		if values > maxValues {
			return errTooManyValues
		}
	}
	return nil
}

// endOfString returns the index of the quote that ends the string at text[start], or len(text).
func endOfString(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i
		case '\\':
			i++ // the escaped character
		}
	}
	return len(text)
}
