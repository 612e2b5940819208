package plugin

import "testing"

// A restart compares every plugin once; it has seconds for ten thousand of them.
func BenchmarkDifferences(b *testing.B) {
	for _, x := range exchanges(b) {
		if x.Request.Name != "rate-limiting" {
			continue
		}
		want, have := x.declare(b), x.answered()
		s := schemaOf(b, x.Request.Name)
		b.ReportAllocs()
		for b.Loop() {
			if got := Differences(want, have, s); len(got) > 0 {
				b.Fatal(got)
			}
		}
	}
}
