package netdev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// inside makes the test a process in a namespace of its own, because Attach
// works in the namespace the process runs in, and a test must not leave devices
// in that of the machine. It is true in that process, and false where the test
// has been run by it.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NETDEV_TEST_INSIDE") == t.Name() {
		return true
	}
	ns := newNS(t, "at")
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NETDEV_TEST_INSIDE="+t.Name())
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("inside the namespace: %v\n%s", err, out.String())
	}
	return false
}

// fakeSwitch is a bridge in memory which notes what is asked of it.
type fakeSwitch struct {
	ports map[string]string
	calls []string
	fail  string // the call that fails
	ns    *Namespace
}

func (s *fakeSwitch) did(call, dev string) error {
	s.calls = append(s.calls, call)
	if s.fail == call {
		return errors.New("refused")
	}
	if call != "flows gone" {
		if _, err := s.ns.Link(dev); err != nil {
			return fmt.Errorf("%s while the device is not there: %w", call, err)
		}
	}
	return nil
}

func (s *fakeSwitch) IfaceID(_ context.Context, dev string) (string, bool, error) {
	id, ok := s.ports[dev]
	return id, ok, nil
}

func (s *fakeSwitch) AddPort(_ context.Context, dev, id string) error {
	// The port lands even when the reply is lost.
	s.ports[dev] = id
	return s.did("add port", dev)
}

func (s *fakeSwitch) ClearIfaceID(_ context.Context, dev string) error {
	s.ports[dev] = ""
	return s.did("clear iface-id", dev)
}

func (s *fakeSwitch) DeletePort(_ context.Context, dev string) error {
	delete(s.ports, dev)
	return s.did("delete port", dev)
}

func TestAttachDetach(t *testing.T) {
	if !inside(t) {
		return
	}
	root := must[*Namespace](t)(CurrentNamespace())
	defer root.Close()
	sw := &fakeSwitch{ports: map[string]string{}, ns: root}
	ctx := shortCtx(t)
	guest := fmt.Sprintf("nd%d-guest", os.Getpid())
	t.Cleanup(func() { DeleteNamespace(guest) })
	a := Attachment{
		Port: "red-a", Namespace: guest, MTU: 1458,
		MAC:       []byte{2, 0, 0, 0, 0, 9},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24")},
	}
	before := linkNames(t, root)

	for _, fail := range []string{"add port", ""} {
		sw.fail = fail
		changed, err := Attach(ctx, sw, a)
		if fail != "" {
			if err == nil || !strings.Contains(err.Error(), "red-a") {
				t.Fatalf("error %v, want one that names the port", err)
			}
			if d := cmp.Diff(before, linkNames(t, root)); d != "" || len(sw.ports) != 0 {
				t.Errorf("not undone: %s ports %v", d, sw.ports)
			}
			if names := must[[]string](t)(Namespaces()); slices.Contains(names, guest) {
				t.Error("not undone: the namespace stayed")
			}
			continue
		}
		if err != nil || len(changed) == 0 {
			t.Fatalf("changed %q, %v", changed, err)
		}
	}
	if sw.ports["p-red-a"] != "red-a" {
		t.Errorf("ports %v", sw.ports)
	}
	if changed, err := Attach(ctx, sw, a); err != nil || len(changed) != 0 {
		t.Errorf("second time: changed %q, %v; want nothing", changed, err)
	}
	a.MTU = 1400
	if changed, err := Attach(ctx, sw, a); err != nil || len(changed) != 2 {
		t.Errorf("another MTU: changed %q, %v; want both ends", changed, err)
	}

	// The interface of one attachment is not for another to take.
	thief := Attachment{Port: "other", Namespace: guest}
	if _, err := Attach(ctx, sw, thief); err == nil || !strings.Contains(err.Error(), "not the port's") {
		t.Errorf("an attachment under the interface name of another: %v", err)
	}
	if changed, err := Attach(ctx, sw, a); err != nil || len(changed) != 0 {
		t.Errorf("after another was refused: changed %q, %v; want nothing", changed, err)
	}

	sw.calls = nil
	gone := func(context.Context) error { return sw.did("flows gone", "") }
	sw.fail = "flows gone"
	if _, err := Detach(ctx, sw, a, gone); err == nil {
		t.Error("the port went although its flows did not")
	}
	if _, kept := sw.ports["p-red-a"]; !kept {
		t.Error("the port's number is free although its flows are there")
	}
	sw.fail = ""
	if _, err := Detach(ctx, sw, a, gone); err != nil {
		t.Fatal(err)
	}
	want := []string{"clear iface-id", "flows gone", "flows gone", "delete port"}
	if d := cmp.Diff(want, sw.calls); d != "" {
		t.Error("order:", d)
	}
	if d := cmp.Diff(before, linkNames(t, root)); d != "" {
		t.Error("left behind:", d)
	}
	if changed, err := Detach(ctx, sw, a, gone); err != nil || len(changed) != 0 {
		t.Errorf("second time: changed %q, %v; want nothing", changed, err)
	}
}

func TestAttachUndoesWhenCancelled(t *testing.T) {
	need.Have(t, need.Tun())
	if !inside(t) {
		return
	}
	root := must[*Namespace](t)(CurrentNamespace())
	defer root.Close()
	before := linkNames(t, root)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, a := range []Attachment{{Port: "p", Namespace: fmt.Sprintf("nd%d-cancel", os.Getpid())}, {Port: "vm"}} {
		if _, err := Attach(ctx, &fakeSwitch{ports: map[string]string{}, ns: root}, a); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if names := must[[]string](t)(Namespaces()); a.Namespace != "" && slices.Contains(names, a.Namespace) {
			t.Error("the namespace stayed")
		}
	}
	if d := cmp.Diff(before, linkNames(t, root)); d != "" {
		t.Error("left behind:", d)
	}
}

func TestAttachTap(t *testing.T) {
	need.Have(t, need.Tun())
	if !inside(t) {
		return
	}
	root := must[*Namespace](t)(CurrentNamespace())
	defer root.Close()
	sw := &fakeSwitch{ports: map[string]string{}, ns: root}
	ctx := shortCtx(t)
	a := Attachment{Port: "a virtual machine with a long name", MTU: 1450}
	if _, err := Attach(ctx, sw, a); err != nil {
		t.Fatal(err)
	}
	if l := must[Link](t)(root.Link(a.Device())); l.Kind != "tuntap" || l.MTU != 1450 {
		t.Errorf("%+v", l)
	}
	if changed, err := Attach(ctx, sw, a); err != nil || len(changed) != 0 {
		t.Errorf("second time: changed %q, %v; want nothing", changed, err)
	}
	if _, err := Detach(ctx, sw, a, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAttachRefuses(t *testing.T) {
	for _, a := range []Attachment{
		{},
		{Port: "p", MTU: 10},
		{Port: "p", MTU: 70000},
		{Port: "p", MAC: []byte{1, 2, 3, 4, 5, 6}},
		{Port: "p", MAC: []byte{2}},
		{Port: "p", Namespace: "../etc"},
		{Port: "p", Namespace: "n", Interface: "a/b"},
		{Port: "p", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}},
		{Port: "p", Namespace: "n", Addresses: []netip.Prefix{{}}},
	} {
		if err := a.Check(); err == nil {
			t.Errorf("accepted: %+v", a)
		}
	}
}

func linkNames(t *testing.T, ns *Namespace) []string {
	t.Helper()
	var names []string
	for _, l := range must[[]Link](t)(ns.Links()) {
		names = append(names, l.Name)
	}
	return names
}
