package nearest

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	candidates := []string{"network", "addresses", "host", "red/web"}
	for word, want := range map[string]string{
		"netwrok":                "network", // swapped
		"adresses":               "addresses",
		"hosts":                  "host",
		"red/wbe":                "red/web",
		"colour":                 "",
		"":                       "",
		"hst":                    "host",
		"hots":                   "host",
		strings.Repeat("x", 200): "",
	} {
		if got := To(word, candidates); got != want {
			t.Errorf("To(%q) = %q, want %q", word, got, want)
		}
	}
}
