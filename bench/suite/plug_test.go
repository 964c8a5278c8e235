package suite

import (
	"os"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// The network has as many other ports as the peer's name says, and none of the many is on
// a host that the ping passes.
func TestRemotePortsAreOnTheThirdHost(t *testing.T) {
	for _, n := range append([]int{handful + 1}, remotePlugSizes...) {
		count := map[string]int{}
		load := remotePorts(n)
		names := map[string]bool{}
		for _, p := range load.topology().Ports {
			count[p.Host]++
			names[p.Name()] = true
		}
		if count[overlay.Host1] != handful+1 || count[overlay.Host2] != 1 || count[overlay.Host3] != n-handful {
			t.Errorf("%d ports: by host %v", n, count)
		}
		if len(names) != n+2 {
			t.Errorf("%d ports: %d names for them and the two that ping", n, len(names))
		}
	}
}

// What runs on the third host, and nothing else, gives way to all others.
func TestThirdHostGivesWay(t *testing.T) {
	needSwitch(t)
	p, err := ourPlugging(t.Context(), remotePorts(handful+1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t)
	})
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	// The test itself may run under nice.
	ours := strings.Fields(string(own))[18]
	for host, want := range map[string]string{overlay.Host1: ours, overlay.Host2: ours, overlay.Host3: "19"} {
		// Field 19 of proc(5)'s stat; the program's name has no space.
		out, err := p.lab.Run(t.Context(), host, "sh", "-c", `cut -d' ' -f19 "/proc/$(cat "$OVS_RUNDIR"/ovs-vswitchd.pid)"/task/*/stat | sort -u`)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out); got != want {
			t.Errorf("ovs-vswitchd of %s has nice values %q, want %s", host, got, want)
		}
	}
}
