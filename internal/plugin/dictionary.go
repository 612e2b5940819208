package plugin

import (
	"slices"
	"strings"
)

// dictionary finds its words at a place of a text, in steps that grow with the logarithm of
// their number.
type dictionary struct {
	// words are sorted, each once.
	words []string
	// shorter has for each word the index of the longest other word that it begins with, -1
	// for none.
	shorter []int
}

func newDictionary(words []string) *dictionary {
	slices.Sort(words)
	d := &dictionary{words: slices.Compact(words)}
	d.shorter = make([]int, len(d.words))
	// In sorted order the words that a word begins with come before it, nested in each other.
	var nested []int
	for i, word := range d.words {
		for len(nested) > 0 && !strings.HasPrefix(word, d.words[nested[len(nested)-1]]) {
			nested = nested[:len(nested)-1]
		}
		d.shorter[i] = -1
		if len(nested) > 0 {
			d.shorter[i] = nested[len(nested)-1]
		}
		nested = append(nested, i)
	}
	return d
}

// longest returns the index of the longest word that the text begins with, -1 for none.
func (d *dictionary) longest(text string, steps *int) int {
	// The word before the text's place in the order, or a word that it begins with, is the
	// longest: a word between them would share more with the text.
	i, found := d.search(text, steps)
	if !found {
		i--
	}
	if i < 0 {
		return -1
	}
	common := commonPrefix(d.words[i], text)
	*steps += common / 16
	for i >= 0 && len(d.words[i]) > common {
		*steps++
		i = d.shorter[i]
	}
	return i
}

// begins reports whether a word begins with the text.
func (d *dictionary) begins(text string, steps *int) bool {
	i, _ := d.search(text, steps)
	return i < len(d.words) && strings.HasPrefix(d.words[i], text)
}

func (d *dictionary) search(text string, steps *int) (int, bool) {
	return slices.BinarySearchFunc(d.words, text, func(word, text string) int {
		*steps++
		return strings.Compare(word, text)
	})
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
