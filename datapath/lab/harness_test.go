package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("LAB_TEST_ROLE"); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

// needLab skips, loudly, where there can be no lab.
func needLab(t *testing.T) {
	t.Helper()
	need.Have(t, need.Root(), need.OpenVSwitch(), need.Tun(), need.Programs("deps", "ping"))
}

func testCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// testLab is the name of a lab no other test process has.
func testLab(t *testing.T, suffix string) string {
	return fmt.Sprintf("t%d%s", os.Getpid(), suffix)
}

func twoHosts(name string) Spec {
	return Spec{
		Name:     name,
		Underlay: Underlay{Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.200.0/24")}, MTU: 1500},
		Hosts: []Host{
			{Name: "host1", TEP: netip.MustParseAddr("192.168.200.20")},
			{Name: "host2", TEP: netip.MustParseAddr("192.168.200.21")},
		},
		Attachments: []Attachment{
			member("red-a", "host1", "10.1.1.1/24"), member("red-b", "host2", "10.1.1.2/24"),
			member("blue-a", "host1", "10.1.1.1/24"), member("blue-b", "host2", "10.1.1.2/24"),
		},
	}
}

func member(port, host, addr string) Attachment {
	p := netip.MustParsePrefix(addr)
	last := p.Addr().AsSlice()
	return Attachment{
		Port: port, Host: host, MTU: 1458, Addresses: []netip.Prefix{p},
		MAC: MAC{2, 0, 0, 0, byte(port[0]), last[len(last)-1]},
	}
}

// up brings a lab up, and down again at the end of the test.
func up(t *testing.T, m *Manager, s Spec, o UpOptions) {
	t.Helper()
	t.Cleanup(func() { down(t, m, s.Name) })
	if err := m.Up(testCtx(t), s, o); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, m *Manager, name string) {
	t.Helper()
	if _, err := m.Down(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	noTrace(t, m, name)
}

// noTrace fails if anything of the lab is left.
func noTrace(t *testing.T, m *Manager, name string) {
	t.Helper()
	names, err := netdev.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, name+".") {
			t.Errorf("namespace %s is left", n)
		}
	}
	files, _ := filepath.Glob(filepath.Join(m.root, name+"*"))
	if len(files) > 0 {
		t.Errorf("files are left: %v", files)
	}
	if ps := commandLines(m.root); len(ps) > 0 {
		t.Errorf("processes are left: %q", ps)
	}
}

// commandLines are the processes that have a word in their command line.
func commandLines(word string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(line, word) && filepath.Dir(f) != fmt.Sprintf("/proc/%d", os.Getpid()) {
			found = append(found, line)
		}
	}
	return found
}

// machine is all of the machine's own namespace that a lab must not change.
func machine(t *testing.T) string {
	t.Helper()
	ns, err := netdev.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	links, err := ns.Links()
	if err != nil {
		t.Fatal(err)
	}
	routes, err := ns.Routes()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v\n%s", links, strings.Join(routes, "\n"))
}

func output(t *testing.T, m *Manager, lab, target string, argv ...string) string {
	t.Helper()
	to, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Output(testCtx(t), lab, to, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// greOver is the interface type of GRE to an address: the kernel's gre is for IPv4 only.
func greOver(tep netip.Addr) string {
	if tep.Is6() {
		return "ip6gre"
	}
	return "gre"
}

// tunnels connects the hosts of a lab without a controller: NORMAL switching
// and one GRE tunnel with a key.
func tunnels(t *testing.T, m *Manager, s Spec, key int) {
	t.Helper()
	for i, h := range s.Hosts {
		peer := s.Hosts[1-i]
		output(t, m, s.Name, h.Name, "ovs-vsctl", "add-port", IntegrationBridge, "gre0", "--", "set", "interface", "gre0",
			"type="+greOver(peer.TEP), "options:remote_ip="+peer.TEP.String(), fmt.Sprintf("options:key=%d", key))
		output(t, m, s.Name, h.Name, "ovs-ofctl", "add-flow", IntegrationBridge, "actions=NORMAL")
	}
}

func in(t *testing.T, m *Manager, lab string, at Target, f func() error) {
	t.Helper()
	ns, err := m.Namespace(lab, at)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}
