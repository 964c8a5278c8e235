package netdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRecord(t *testing.T) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24"), netip.MustParsePrefix("fd00::1/64")}
	for _, a := range []Attachment{
		{Port: "red-a", Namespace: "web1", Interface: "et1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Addresses: prefixes, MTU: 1458},
		{Port: "red-b", Namespace: "web1", Interface: "eth0"},
		{Port: "a virtual machine with a long name", MTU: 1450},
		{Port: "vm1"},
	} {
		text, err := a.Record()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseRecord(a.Port, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if d := cmp.Diff(a, back, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
			t.Errorf("%s (-written +read):\n%s", text, d)
		}
	}
	// The default of the interface's name is written down: it may be another one later.
	if text, err := (Attachment{Port: "p", Namespace: "n"}).Record(); err != nil || !strings.Contains(text, `"interface":"eth0"`) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := (Attachment{}).Record(); err == nil {
		t.Error("what cannot be attached has a record")
	}
	many := Attachment{Port: "p", Namespace: "n"}
	for i := range 3000 {
		many.Addresses = append(many.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	if _, err := many.Record(); err == nil || !strings.Contains(err.Error(), "too many addresses") {
		t.Errorf("a record that would not be read: %v", err)
	}
}

// badRecords are texts of which no attachment is made, and what is said of them.
var badRecords = []struct{ port, text, want string }{
	{"p", "", "not one of attach"},
	{"p", "nonsense", "not one of attach"},
	{"p", "null", "either a netns or a tap"},
	{"p", "{}", "either a netns or a tap"},
	{"p", "[]", "not one of attach"},
	{"p", `{"netns":"n","tap":true}`, "either a netns or a tap"},
	{"p", `{"tap":true,"interface":"eth0"}`, "it has a tap"},
	{"p", `{"tap":true,"addresses":["10.1.1.1/24"]}`, "addresses need a namespace"},
	{"p", `{"tap":true}{"tap":true}`, "more behind its end"},
	{"p", `{"tap":true} x`, "more behind its end"},
	{"p", `{"tap":true,"offloads":true}`, "unknown field"},
	{"p", `{"netns":"../../etc","interface":"eth0"}`, "starts with"},
	{"p", `{"netns":"a/b"}`, "contains"},
	{"p", `{"netns":"n","interface":"eth0; reboot"}`, "contains"},
	{"p", `{"netns":"n","interface":"an-interface-with-a-long-name"}`, "15"},
	{"p", `{"netns":"n","mac":"01:00:5e:00:00:01"}`, "unicast"},
	{"p", `{"netns":"n","mac":"00:00:00:00:00:00:00:01"}`, "48-bit"},
	{"p", `{"netns":"n","mac":"x"}`, "not one of attach"},
	{"p", `{"netns":"n","mtu":9}`, "MTU 9"},
	{"p", `{"netns":"n","mtu":1000000000}`, "MTU"},
	{"p", `{"netns":"n","mtu":1e99}`, "not one of attach"},
	{"p", `{"netns":"n","addresses":["10.1.1.1"]}`, "not one of attach"},
	{"p", `{"netns":"n","addresses":[""]}`, "not valid"},
	{"", `{"tap":true}`, "no name"},
	{"p\x1b[2J", `{"tap":true}`, "no port's name"},
	{"p\xff", `{"tap":true}{`, "not one of attach"}, // U+FFFD, which is printed
	{"p", `{"netns":"` + strings.Repeat("n", maxRecord) + `"}`, "at most"},
}

func TestBadRecords(t *testing.T) {
	for _, c := range badRecords {
		if a, err := ParseRecord(c.port, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %+v, %v; want an error with %q", c.text, a, err, c.want)
		}
	}
}

// What is read is one that could have been written: it is the same when it is written again.
func FuzzParseRecord(f *testing.F) {
	for _, c := range badRecords {
		f.Add(c.port, c.text)
	}
	f.Add("red-a", `{"netns":"web1","interface":"et1","mac":"02:00:00:00:00:09","addresses":["10.1.1.1/24","fd00::1/64"],"mtu":1458}`)
	f.Fuzz(func(t *testing.T, port, text string) {
		a, err := ParseRecord(port, text)
		if err != nil {
			return
		}
		written, err := a.Record()
		if err != nil {
			t.Fatalf("%q was read as %+v, and cannot be written: %v", text, a, err)
		}
		b, err := ParseRecord(port, written)
		if err != nil {
			t.Fatalf("%q was written as %q, and cannot be read: %v", text, written, err)
		}
		if again, err := b.Record(); err != nil || again != written {
			t.Errorf("%q was written as %q, and then as %q, %v", text, written, again, err)
		}
	})
}

func TestRestore(t *testing.T) {
	if !inside(t) {
		return
	}
	root := must[*Namespace](t)(CurrentNamespace())
	defer root.Close()
	ctx := shortCtx(t)
	guest := fmt.Sprintf("nd%d-restore", os.Getpid())
	t.Cleanup(func() { DeleteNamespace(guest) })
	for _, a := range []Attachment{
		{Port: "red-a", Namespace: guest, Interface: "et1", MTU: 1400, MAC: []byte{2, 0, 0, 0, 0, 9}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24")}},
		{Port: "vm1", MTU: 1450},
	} {
		sw := &fakeSwitch{ports: map[string]string{a.Device(): a.Port}, ns: root}
		// The switch has not opened the device, as after a boot: nothing is asked of it.
		if changed, err := Restore(ctx, sw, a, false); err != nil || len(changed) == 0 || len(sw.calls) != 0 {
			t.Fatalf("changed %q, calls %q, %v", changed, sw.calls, err)
		}
		if l := must[Link](t)(root.Link(a.Device())); l.MTU != a.MTU || !l.Up {
			t.Errorf("%+v", l)
		}
		for _, opened := range []bool{false, true} {
			if changed, err := Restore(ctx, sw, a, opened); err != nil || len(changed) != 0 || len(sw.calls) != 0 {
				t.Errorf("again: changed %q, calls %q, %v; want nothing", changed, sw.calls, err)
			}
		}
		// It has: the device that it has open is gone.
		must[bool](t)(root.DeleteLink(a.Device()))
		if _, err := Restore(ctx, sw, a, true); err != nil {
			t.Fatal(err)
		}
		if want := []string{"delete port", "add port"}; !slices.Equal(sw.calls, want) || sw.ports[a.Device()] != a.Port {
			t.Errorf("calls %q, ports %v; want %q", sw.calls, sw.ports, want)
		}
		// So it is for attach.
		must[bool](t)(root.DeleteLink(a.Device()))
		sw.calls = nil
		if _, err := Attach(ctx, sw, a); err != nil {
			t.Fatal(err)
		}
		if want := []string{"delete port", "add port"}; !slices.Equal(sw.calls, want) {
			t.Errorf("attach: calls %q; want %q", sw.calls, want)
		}
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	before := linkNames(t, root)
	if _, err := Restore(done, &fakeSwitch{ns: root}, Attachment{Port: "late"}, false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if d := cmp.Diff(before, linkNames(t, root)); d != "" {
		t.Error("left behind:", d)
	}
}
