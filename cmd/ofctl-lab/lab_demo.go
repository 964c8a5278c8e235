package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

const (
	// maxDemoPairs bounds what is tried per network, and between how many
	// tenants, so that a large lab is shown in seconds.
	maxDemoPairs = 24
	// demoParallel is how many pairs are tried at the same time.
	demoParallel = 4
	// demoTimeout bounds the whole demonstration.
	demoTimeout = 3 * time.Minute
)

// demo is what was tried, and what came of it.
type demo struct {
	Lab       string      `json:"lab"`
	Reach     []reach     `json:"reach"`
	Isolation []isolation `json:"isolation"`
}

// reach is one ping between two hosts, within a network.
type reach struct {
	Network string `json:"network"`
	Encap   string `json:"encap"`
	Key     uint32 `json:"key"`
	From    string `json:"from"`
	To      string `json:"to"`
	OK      bool   `json:"ok"`
	RTT     string `json:"rtt,omitempty"`
	// Wire is what was captured on the underlay.
	Wire    string `json:"wire,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// isolation is one attempt to reach another tenant.
type isolation struct {
	From    string `json:"from"`
	To      string `json:"to"`
	OK      bool   `json:"ok"` // true if nothing arrived
	Seen    string `json:"seen"`
	Problem string `json:"problem,omitempty"`
}

// member is a port's part in one network, as the demonstration uses it.
type member struct {
	network api.Network
	port    string
	vlan    uint16
	host    string
	netns   string // or the virtual machine, if it is one
	machine bool
	mute    bool // a virtual machine that runs no commands: it has no agent, or is off
	device  string
	mac     net.HardwareAddr
	addr    netip.Addr
}

func (m member) String() string {
	return fmt.Sprintf("%s %s (%s)", m.port, m.addr, m.host)
}

func newLabDemo(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a lab at work: who reaches whom, and with which tunnel key",
		Long: `Show a lab at work. In each network, ports on different hosts ping each other
(virtual machines from inside too, where there is a guest agent), and the underlay is
captured meanwhile: encapsulation and tunnel key of what was seen must be the
network's. Between namespaces of any two tenants, frames are sent straight at the
other's MAC and IP address, and to everybody; none may arrive, while those to
everybody must arrive in the own network.

Exit status 1 if anything is not as it should be.`,
		Example: "  ofctl-lab lab demo",
		Args:    args(0, 0, "no arguments; choose a lab with --lab"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoTimeout)
			defer cancel()
			l, err := a.openLab(cmd)
			if err != nil {
				return err
			}
			defer l.Close()
			d, err := l.demo(ctx)
			if err != nil {
				return err
			}
			if err := a.emit(d, func(t *tables, _ format) { printDemo(t, d, nextCommands(l, d)) }); err != nil {
				return err
			}
			if n := d.failures(); n > 0 {
				return fmt.Errorf("%d of %d attempts did not end as they should; see ofctl-lab lab status, and ofctl-lab dump-flows --drops", n, len(d.Reach)+len(d.Isolation))
			}
			return nil
		},
	}
	addOutputFlag(cmd)
	return cmd
}

func (d *demo) failures() int {
	n := 0
	for _, r := range d.Reach {
		if !r.OK {
			n++
		}
	}
	for _, i := range d.Isolation {
		if !i.OK {
			n++
		}
	}
	return n
}

func (l *openedLab) demo(ctx context.Context) (*demo, error) {
	members, err := l.members(ctx)
	if err != nil {
		return nil, err
	}
	d := &demo{Lab: l.name, Reach: []reach{}, Isolation: []isolation{}}
	pairs := crossHostPairs(members)
	d.Reach = make([]reach, len(pairs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(demoParallel)
	for i, p := range pairs {
		g.Go(func() (err error) {
			d.Reach[i], err = l.tryReach(gctx, p[0], p[1])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// Frames of one's own making are sent and captured in a namespace.
	inReach := slices.DeleteFunc(slices.Clone(members), func(m member) bool { return m.machine })
	between := tenantPairs(inReach)
	d.Isolation = make([]isolation, len(between))
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(demoParallel)
	for i, p := range between {
		g.Go(func() (err error) {
			d.Isolation[i], err = l.tryCross(gctx, p, inReach)
			return err
		})
	}
	return d, g.Wait()
}

// members are the parts with an IPv4 address of all ports that the lab attaches.
func (l *openedLab) members(ctx context.Context) ([]member, error) {
	ports, err := l.Ports(ctx)
	if err != nil {
		return nil, l.explain(err)
	}
	list, err := l.Networks(ctx)
	if err != nil {
		return nil, l.explain(err)
	}
	networks := map[string]api.Network{}
	for _, n := range list {
		networks[n.FullName()] = n
	}
	var out []member
	add := func(in member) error {
		i := slices.IndexFunc(ports, func(p api.Port) bool { return p.Name == in.port })
		if i < 0 {
			return fmt.Errorf("port %s of lab %s is not declared in its controller; run ofctl-lab lab up FILE again", in.port, l.name)
		}
		p := ports[i]
		for _, sub := range parts(p.PortSpec) {
			j := slices.IndexFunc(sub.Addresses, netip.Addr.Is4)
			if j < 0 {
				continue
			}
			m := in
			m.network, m.vlan, m.addr = networks[sub.Network], sub.VLAN, sub.Addresses[j]
			if m.mac, err = net.ParseMAC(p.MAC); err != nil {
				return fmt.Errorf("port %s: %w", p.Name, err)
			}
			if m.vlan != 0 {
				m.device = fmt.Sprintf("%s.%d", m.device, m.vlan)
			}
			out = append(out, m)
		}
		return nil
	}
	for _, at := range l.spec.Attachments {
		if err := add(member{port: at.Port, host: at.Host, netns: cmp.Or(at.Netns, at.Port), device: cmp.Or(at.Interface, "eth0")}); err != nil {
			return nil, err
		}
	}
	for _, v := range l.spec.Machines {
		_, err := l.m.Output(ctx, l.name, lab.Target{Host: v.Host, Netns: v.Name}, "true")
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, n := range v.NICs {
			if err := add(member{port: n.Port, host: v.Host, netns: v.Name, machine: true, mute: err != nil, device: n.Name}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// parts are the port's parts in its networks: one on an access port.
func parts(p api.PortSpec) []api.SubPort {
	if p.Trunk == nil {
		return []api.SubPort{{Network: p.Network, Addresses: p.Addresses}}
	}
	var out []api.SubPort
	if p.Trunk.Native != nil {
		out = append(out, *p.Trunk.Native)
	}
	return append(out, p.Trunk.VLANs...)
}

// crossHostPairs are pairs in one network on different hosts.
func crossHostPairs(members []member) [][2]member {
	count := map[string]int{}
	var out [][2]member
	for i, a := range members {
		for _, b := range members[i+1:] {
			n := a.network.FullName()
			if n != b.network.FullName() || a.host == b.host || count[n] >= maxDemoPairs {
				continue
			}
			count[n]++
			if !a.mute {
				out = append(out, [2]member{a, b})
			}
			// From a virtual machine and to it are two ways: it answers, or it asks.
			if (a.machine || b.machine) && !b.mute {
				out = append(out, [2]member{b, a})
			}
		}
	}
	return out
}

// tenantPairs are, for every two tenants in both directions, a port of each: if
// possible such that the other's address is also that of a port in the own
// network, since that is the case in which a mix-up would show.
func tenantPairs(members []member) [][2]member {
	type key struct{ from, to string }
	best := map[key][2]member{}
	var order []key
	for _, a := range members {
		for _, b := range members {
			k := key{a.network.Tenant, b.network.Tenant}
			if k.from == k.to || a.port == b.port {
				continue
			}
			old, ok := best[k]
			if !ok {
				order = append(order, k)
			}
			if !ok || ownAnswer(members, old) == nil && ownAnswer(members, [2]member{a, b}) != nil {
				best[k] = [2]member{a, b}
			}
		}
	}
	out := make([][2]member, 0, len(order))
	for _, k := range order[:min(len(order), maxDemoPairs)] {
		out = append(out, best[k])
	}
	return out
}

// ownAnswer is the member of the first one's network that has the second one's address.
func ownAnswer(members []member, pair [2]member) *member {
	a, b := pair[0], pair[1]
	for i, m := range members {
		if m.network.FullName() == a.network.FullName() && m.port != a.port && m.addr == b.addr {
			return &members[i]
		}
	}
	return nil
}

// average is the average round-trip time in ping's last line, in milliseconds.
var average = regexp.MustCompile(`= [0-9.]+/([0-9.]+)/`)

// pingCommand is how a pings b. The ping of a virtual machine may be busybox's,
// which resolves no names and takes whole seconds.
func pingCommand(a, b member) []string {
	argv := []string{"ping", "-q", "-c", "3", "-W", "1", "-I", a.device}
	if !a.machine {
		argv = append(argv, "-n", "-i", "0.2")
	}
	return append(argv, b.addr.String())
}

// tryReach pings from a to b and looks at the underlay meanwhile.
func (l *openedLab) tryReach(ctx context.Context, a, b member) (reach, error) {
	r := reach{Network: a.network.FullName(), Encap: a.network.Encap, Key: a.network.Key, From: a.String(), To: b.String()}
	underlay, err := l.m.CaptureUnderlay(l.name, a.host)
	if err != nil {
		return r, err
	}
	defer underlay.Close()
	out, err := l.m.Output(ctx, l.name, lab.Target{Host: a.host, Netns: a.netns}, pingCommand(a, b)...)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if errors.Is(err, lab.ErrNotStarted) {
		return r, fmt.Errorf("%w; install ping (Debian: apt-get install iputils-ping)", err)
	}
	if err != nil {
		r.Problem = "no answer to ping; see ofctl-lab dump-flows --drops"
		return r, nil
	}
	if m := average.FindStringSubmatch(out); m != nil {
		r.RTT = m[1] + " ms"
	}
	seen, err := findTunnelled(ctx, underlay, a.addr, b.addr, a.network)
	if err != nil {
		return r, err
	}
	switch {
	case seen == nil:
		r.Problem = "answered, but the underlay carried nothing of it"
	case seen.encap != r.Encap || seen.key != r.Key:
		r.Wire = seen.String()
		r.Problem = fmt.Sprintf("the underlay carried %s instead of %s key %d", seen, r.Encap, r.Key)
	default:
		r.OK, r.Wire = true, seen.String()
	}
	return r, nil
}

func printDemo(t *tables, d *demo, next []string) {
	rows := make([][]string, 0, len(d.Reach))
	for _, r := range d.Reach {
		rows = append(rows, []string{verdict(r.OK), r.Network, r.From, r.To, r.RTT, r.Wire, r.Problem})
	}
	t.line("Ports of one network reach each other across hosts, by the network's tunnel key:")
	t.table([]string{"RESULT", "NETWORK", "FROM", "TO", "RTT", "ON THE UNDERLAY", "PROBLEM"}, rows)
	t.gap()
	rows = rows[:0]
	for _, i := range d.Isolation {
		rows = append(rows, []string{verdict(i.OK), i.From, i.To, i.Seen, i.Problem})
	}
	t.line("No tenant reaches another, not even by its addresses:")
	t.table([]string{"RESULT", "FROM", "AT", "SEEN", "PROBLEM"}, rows)
	t.gap()
	t.line("Try next:")
	for _, c := range next {
		t.line("  %s", c)
	}
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

// attachmentIn is the attachment whose port a member's text begins with.
func attachmentIn(spec lab.Spec, member string) (lab.Attachment, bool) {
	i := slices.IndexFunc(spec.Attachments, func(at lab.Attachment) bool { return strings.HasPrefix(member, at.Port+" ") })
	if i < 0 {
		return lab.Attachment{}, false
	}
	return spec.Attachments[i], true
}

// nextCommands are commands worth trying, with names of this lab.
func nextCommands(l *openedLab, d *demo) []string {
	var out []string
	// As this program was called, so that the lines can be typed as they stand.
	add := func(format string, args ...any) { out = append(out, os.Args[0]+" "+fmt.Sprintf(format, args...)) }
	add("get ports")
	if len(l.spec.Attachments) > 0 {
		at := l.spec.Attachments[0]
		add("describe port %s", at.Port)
		add("dump-flows %s --port %s", at.Host, at.Port)
		for _, r := range d.Reach {
			from, fok := attachmentIn(l.spec, r.From)
			to, tok := attachmentIn(l.spec, r.To)
			if !fok || !tok {
				continue // one that is switched off and on, not unplugged
			}
			add("lab exec %s -- ping -c 3 %s", execTarget(from), strings.Fields(r.To)[1])
			add("lab unplug %s", to.Port)
			add("lab plug %s", to.Port)
			add("lab move %s %s", to.Port, from.Host)
			break
		}
	}
	if len(l.spec.Machines) > 0 {
		v := l.spec.Machines[0]
		add("lab exec %s/%s -- ip addr", v.Host, v.Name)
		add("lab console %s", v.Name)
		add("lab reboot %s", v.Name)
	}
	add("dump-flows --drops")
	add("lab down %s", l.name)
	return out
}
