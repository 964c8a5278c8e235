package netdev

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

func TestOpenTapGoesWithItsFile(t *testing.T) {
	need.Have(t, need.Tun())
	ns := newNS(t, "tap")
	tap := must[interface{ Close() error }](t)(ns.OpenTap("vm1"))
	if _, err := ns.OpenTap("vm1"); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("a second of its name: %v", err)
	}
	l := must[Link](t)(ns.Link("vm1"))
	if l.Kind != "tuntap" || l.Up {
		t.Errorf("%+v", l)
	}
	tap.Close()
	if _, err := ns.Link("vm1"); !errors.Is(err, ErrNoLink) {
		t.Errorf("it outlives its file: %v", err)
	}
	if _, err := ns.OpenTap("name/with/slash"); err == nil {
		t.Error("accepted")
	}
}

func TestWatchLinksSeesTheFlag(t *testing.T) {
	need.Have(t, need.Tun())
	ns := newNS(t, "watch")
	tap := must[interface{ Close() error }](t)(ns.OpenTap("vm1"))
	defer tap.Close()
	w := must[*LinkWatch](t)(ns.WatchLinks())
	defer w.Close()
	// Without a time: four thousand changes take a minute where the CPU is emulated.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, to := range []LinkState{Up, Down, Up} {
		if _, err := ns.Configure("vm1", LinkConfig{State: to}); err != nil {
			t.Fatal(err)
		}
		for must[Link](t)(ns.Link("vm1")).Up != (to == Up) {
			if err := w.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Wait(ctx); err != nil {
			t.Fatal("no sign of the change: ", err)
		}
	}
	// Many more notices than the socket holds are one sign, and no error.
	for range 2000 {
		if _, err := ns.Configure("vm1", LinkConfig{State: Down}); err != nil {
			t.Fatal(err)
		}
		if _, err := ns.Configure("vm1", LinkConfig{State: Up}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Wait(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
}
