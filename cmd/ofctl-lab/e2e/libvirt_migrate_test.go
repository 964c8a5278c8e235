package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

const libvirtMigrateTopology = threeHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24]}
ports:
  - {name: red-b, network: red/web, host: host3, addresses: [10.1.1.2]}
guests:
  - name: vm1
    kernel: %[1]s/vmlinuz
    initrd: %[1]s/initramfs.img
    memory: 192
    nics: [{network: red/web, addresses: [10.1.1.1], migrate_to: any}]
`

// TestLibvirtMigrate: a domain that virsh migrates keeps its traffic, without a word to
// the controller but migrate_to: any; and where the migration fails, also after the
// destination's tap has appeared, all is as it was.
func TestLibvirtMigrate(t *testing.T) {
	l := up(t, "x", fmt.Sprintf(libvirtMigrateTopology, guestImage(t)))
	h1, h2 := l.hypervisor(t, "host1"), l.hypervisor(t, "host2")
	h1.guest(t, "define", "vm1", "-f", l.file, "--accel", "tcg")
	h1.on(t)
	l.settled(t)
	before := map[string]holds{}
	for _, host := range l.hosts {
		before[host] = l.holds(t, host)
	}
	failed := func(why, uri, says string) {
		t.Helper()
		if out, err := h1.migrate(t, h2, uri); err == nil || !strings.Contains(out, says) {
			t.Fatalf("%s: %v\n%s", why, err, out)
		}
		eventually(t, "only host1 claims vm1's port", func() bool {
			s := l.portStatus(t, "vm1-eth0")
			return s.State == api.StateUp && s.Host == "host1" && len(s.Rivals) == 0
		})
		l.settled(t)
		l.unchanged(t, before)
		h1.wired(t, why)
		l.mustPing(t, "red-b", "10.1.1.1")
	}
	failed("no network there", h2.management(t), "ofctl-lab")
	h2.guest(t, "define", "--network")
	// host1 itself, where nobody listens: by then the destination has its tap.
	failed("no way there", "tcp://127.0.0.1", "127.0.0.1")
	if log, err := os.ReadFile(l.vswitchdLog("host2")); err != nil || !strings.Contains(string(log), "added interface t-vm1-eth0") {
		t.Errorf("host2 has never had vm1's tap, so nothing was taken back there: %v", err)
	}

	a := l.attachment(t, "red-b")
	type result struct {
		out string
		err error
	}
	pinged := make(chan result, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		out, err := l.m.Output(ctx, l.name, lab.Target{Host: a.Host, Netns: netns(a)},
			"ping", "-n", "-q", "-i", "0.01", "-c", "1500", "-W", "1", "-I", device(a), "10.1.1.1")
		pinged <- result{out, err}
	}()
	if out, err := h1.migrate(t, h2, h2.management(t)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "vm1's port is on host2", func() bool {
		s := l.portStatus(t, "vm1-eth0")
		return s.State == api.StateUp && s.Host == "host2" && len(s.Rivals) == 0
	})
	h2.wired(t, "the migration")
	// Not only when the source had gone, as without migrate_to, and after no failure.
	if n := l.metric(t, "ofctl_lab_cut_overs_total"); n != 1 {
		t.Errorf("vm1's port was cut over %v times", n)
	}
	l.mustPing(t, "red-b", "10.1.1.1")
	r := <-pinged
	t.Logf("meanwhile:\n%s", r.out)
	if r.err != nil || strings.Contains(r.out, "duplicates") {
		t.Errorf("pings while it was migrated: %v", r.err)
	}
}

// management is the host's address for migrations, as a URI.
func (h *hypervisor) management(t *testing.T) string {
	t.Helper()
	st, err := h.l.m.Status(t.Context(), h.l.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range st.Hosts {
		if host.Name == h.host {
			return "tcp://" + host.Management.String()
		}
	}
	t.Fatalf("the lab has no host %s", h.host)
	return ""
}

// migrate migrates vm1 live to another host with virsh, as people do; qemu connects
// to uri.
func (h *hypervisor) migrate(t *testing.T, to *hypervisor, uri string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "virsh", "-c", h.URI(), "migrate", "--live", "--p2p", "vm1", to.URI(), "--migrateuri", uri).CombinedOutput()
	return string(out), err
}
