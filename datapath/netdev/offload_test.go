package netdev

import (
	"slices"
	"testing"
)

// Offloads go off and come back, and GRO, which a veth does not have by itself, stays off.
func TestSetOffloads(t *testing.T) {
	ns := newNS(t, "offloads")
	must[bool](t)(EnsureVeth(VethEnd{Namespace: ns, Name: "a"}, VethEnd{Namespace: ns, Name: "b"}))
	fresh := must[[]string](t)(ns.Offloads("a"))
	if !slices.Contains(fresh, "TSO") {
		t.Fatalf("a new veth has %q on", fresh)
	}
	for range 2 { // the second time nothing changes
		if err := ns.SetOffloads("a", false); err != nil {
			t.Fatal(err)
		}
		if on := must[[]string](t)(ns.Offloads("a")); len(on) != 0 {
			t.Errorf("turned off, and %q are on", on)
		}
	}
	for range 2 {
		if err := ns.SetOffloads("a", true); err != nil {
			t.Fatal(err)
		}
		if on := must[[]string](t)(ns.Offloads("a")); !slices.Equal(on, fresh) {
			t.Errorf("turned on, and %q are on, not %q", on, fresh)
		}
	}
	for _, on := range []bool{false, true} {
		for _, dev := range []string{"none", "a b"} {
			if err := ns.SetOffloads(dev, on); err == nil {
				t.Errorf("%q is no interface, and no error says so (on = %v)", dev, on)
			}
		}
	}
}
