package e2e

import (
	"strconv"
	"strings"
	"testing"
)

// sumMetric adds up the series of a metric in Prometheus's text format.
func sumMetric(t *testing.T, text, name string, labels []string) float64 {
	t.Helper()
	var sum float64
series:
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		metric, set, _ := strings.Cut(series, "{")
		if !ok || metric != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(set, l) {
				continue series
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", line, err)
		}
		sum += v
	}
	return sum
}
