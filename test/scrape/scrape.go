// Package scrape reads the operator's HTTP endpoints, and the values in its metrics. The demo and the
// bench use it.
package scrape

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Page returns the body at a URL. It returns an error for any status but 200.
func Page(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(page), err
}

// Samples returns the values of one metric in a page in Prometheus' text format, by their labels.
func Samples(page, metric string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(page) {
		rest, isIt := strings.CutPrefix(strings.TrimSpace(line), metric)
		// A value contains no blank, but labels may.
		cut := strings.LastIndexByte(rest, ' ')
		if !isIt || cut < 0 || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		if value, err := strconv.ParseFloat(rest[cut+1:], 64); err == nil {
			found[rest[:cut]] = value
		}
	}
	return found
}

// Sum adds the values whose labels contain one of the texts, or all values.
func Sum(values map[string]float64, having ...string) float64 {
	total := 0.0
	for labels, value := range values {
		matches := len(having) == 0
		for _, text := range having {
			matches = matches || strings.Contains(labels, text)
		}
		if matches {
			total += value
		}
	}
	return total
}
