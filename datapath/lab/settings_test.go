package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Addresses and routes that a guest has set itself go over with it, and are there
// again after a migration that failed before it went over or after.
func TestGuestsOwnSettingsMigrate(t *testing.T) {
	needLab(t)
	m := New(t.TempDir())
	s := twoHosts(testLab(t, "s"))
	up(t, m, s, UpOptions{})
	ctx := testCtx(t)
	const before = "host1/red-a"
	for _, argv := range [][]string{
		{"ip", "addr", "add", "10.7.0.1/24", "dev", "eth0"},
		{"ip", "route", "add", "default", "via", "10.1.1.254"},
		{"ip", "route", "add", "10.8.0.0/16", "via", "10.7.0.9", "metric", "7"},
	} {
		output(t, m, s.Name, before, argv...)
	}
	settings := func(target string) string {
		return output(t, m, s.Name, target, "ip", "-o", "-4", "addr", "show", "dev", "eth0", "scope", "global") +
			output(t, m, s.Name, target, "ip", "-4", "route")
	}
	has := func(what, target string) {
		t.Helper()
		got := settings(target)
		for _, want := range []string{"10.1.1.1/24", "10.7.0.1/24", "default via 10.1.1.254 dev eth0", "10.8.0.0/16 via 10.7.0.9 dev eth0 metric 7"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the guest has lost %s:\n%s", what, want, got)
			}
		}
	}
	has("at first", before)
	no := errors.New("no")
	yes := func(context.Context) error { return nil }
	refuse := func(context.Context) error { return no }
	for what, h := range map[string]Handover{"not prepared": {Prepared: refuse}, "not cut over": {Prepared: yes, Over: refuse}} {
		if _, err := m.Migrate(ctx, s.Name, "red-a", "host2", h); !errors.Is(err, no) {
			t.Fatal(what, err)
		}
		has(what, before)
	}
	if _, err := m.Migrate(ctx, s.Name, "red-a", "host2", Handover{Prepared: yes, Over: yes}); err != nil {
		t.Fatal(err)
	}
	has("migrated", "host2/red-a")
}
