package netdev

import (
	"slices"
	"testing"
)

// Offloads and ARP go both ways, and a second time nothing is changed.
func TestConfigureBothWays(t *testing.T) {
	a, b := newNS(t, "wa"), newNS(t, "wb")
	if _, err := EnsureVeth(VethEnd{Namespace: a, Name: "veth0"}, VethEnd{Namespace: b, Name: "eth0"}); err != nil {
		t.Fatal(err)
	}
	fresh := must[[]string](t)(b.Offloads("eth0"))
	if !slices.Contains(fresh, "tx checksum") {
		t.Fatalf("a new veth has offloads %v on: the test proves nothing", fresh)
	}
	for _, step := range []struct {
		name    string
		c       LinkConfig
		changed []string
		on      []string
	}{
		{"off", LinkConfig{Offloads: OffloadsOff, ARP: Down}, []string{"eth0: arp off", "eth0: offloads off"}, nil},
		{"off again", LinkConfig{Offloads: OffloadsOff, ARP: Down}, nil, nil},
		{"as is", LinkConfig{}, nil, nil},
		{"on", LinkConfig{Offloads: OffloadsOn, ARP: Up}, []string{"eth0: arp on", "eth0: offloads on"}, fresh},
		{"on again", LinkConfig{Offloads: OffloadsOn, ARP: Up}, nil, fresh},
	} {
		if changed := must[[]string](t)(b.Configure("eth0", step.c)); !slices.Equal(changed, step.changed) {
			t.Errorf("%s: changed %q; want %q", step.name, changed, step.changed)
		}
		if on := must[[]string](t)(b.Offloads("eth0")); !slices.Equal(on, step.on) {
			t.Errorf("%s: %v are on; want %v", step.name, on, step.on)
		}
	}
}
