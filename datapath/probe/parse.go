package probe

import (
	"strings"
)

// What the switch prints is not trusted to be short, or to be text.
const (
	maxLines  = 500
	maxKey    = 64
	maxAnswer = 16
)

// lines calls f with the first lines of a text.
func lines(text string, f func(line string)) {
	n := 0
	for line := range strings.Lines(text) {
		if n++; n > maxLines {
			return
		}
		f(strings.TrimSpace(line))
	}
}

// keep notes what is said of a key, if both are of a kind that can be shown.
func keep(m map[string]string, key, value string) {
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if key == "" || value == "" || len(key) > maxKey || len(value) > maxAnswer || !printable(key) || !printable(value) {
		return
	}
	m[key] = value
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// parseFeatures reads dpif/show-dp-features: lines "Ufid: Yes", "Max MPLS depth: 3".
func parseFeatures(text string) map[string]string {
	m := map[string]string{}
	lines(text, func(line string) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			keep(m, key, value)
		}
	})
	return m
}

// parseMeterFeatures reads meter-features: numbers "max_meter:200000 max_bands:1" and, under
// capabilities and band_types, words, each of which is a yes.
func parseMeterFeatures(text string) map[string]string {
	m := map[string]string{}
	lines(text, func(line string) {
		if words, ok := strings.CutPrefix(line, "capabilities:"); ok {
			keepWords(m, words)
			return
		}
		if words, ok := strings.CutPrefix(line, "band_types:"); ok {
			keepWords(m, words)
			return
		}
		for field := range strings.FieldsSeq(line) {
			if key, value, ok := strings.Cut(field, ":"); ok && strings.HasPrefix(key, "max_") {
				keep(m, key, value)
			}
		}
	})
	return m
}

func keepWords(m map[string]string, words string) {
	for w := range strings.FieldsSeq(words) {
		keep(m, w, string(Yes))
	}
}

// parseGroupFeatures reads dump-group-features: a line "select group:" for each type.
func parseGroupFeatures(text string) map[string]string {
	m := map[string]string{}
	lines(text, func(line string) {
		if kind, ok := strings.CutSuffix(line, " group:"); ok {
			keep(m, kind, string(Yes))
		}
	})
	return m
}

// parseTypes reads the set of interface types: [geneve, gre, …].
func parseTypes(text string) map[string]string {
	m := map[string]string{}
	for kind := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune("[], \"\n", r) }) {
		if len(m) < maxLines {
			keep(m, kind, string(Yes))
		}
	}
	return m
}

// parseLimits reads dpctl/ct-get-limits. Any answer shows that there are limits; that it has an empty key is the
// question's.
func parseLimits(text string) map[string]string {
	m := map[string]string{}
	if strings.Contains(text, "limit=") {
		m[""] = string(Yes)
	}
	return m
}

// parseDatapath reads the datapath type of a bridge; an empty one is the kernel's.
func parseDatapath(text string) Datapath {
	if dp := Datapath(strings.Trim(strings.TrimSpace(text), `"`)); dp == Userspace {
		return Userspace
	}
	return Kernel
}

// parseVersion finds the version in what ovs-appctl version prints: "ovs-vswitchd (Open vSwitch) 3.1.0".
func parseVersion(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) == 0 {
		return ""
	}
	if v := fields[len(fields)-1]; len(v) <= maxAnswer && printable(v) && v[0] >= '0' && v[0] <= '9' {
		return v
	}
	return ""
}
