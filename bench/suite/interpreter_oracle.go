package suite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// thereBridge is the bridge of the second host; that of the first one is bridge.Name.
const thereBridge = "br1"

// The interfaces of the three guests, and the prefix of those of the tunnels.
const (
	fromPort  = "from"
	nearPort  = "near"
	farPort   = "far"
	tunPrefix = "tun-"
)

// oracle is a real Open vSwitch that holds the flows of both hosts, in a bridge each, and is asked what becomes
// of packets.
type oracle struct {
	in  *interpreting
	b   *bridge.Bridge
	ctl *ovsctl.Control
	// ports are the numbers of interfaces in the datapath.
	ports map[string]string
}

func (o *oracle) start(ctx context.Context) error {
	var err error
	if o.b, err = bridge.Start(ctx); err != nil {
		return err
	}
	if err := o.plug(ctx); err != nil {
		return err
	}
	for name, h := range map[string]*compiledHost{bridge.Name: o.in.here, thereBridge: o.in.there} {
		if err := o.load(ctx, name, h.state); err != nil {
			return err
		}
	}
	if o.ctl, err = o.b.Control(ctx); err != nil {
		return err
	}
	// Tunnels as the kernel has them: an action says where to and under which key, and no route is looked up.
	if _, err := o.ctl.Call(ctx, "dpif/set-dp-features", bridge.Name, "tnl_push_pop", "false"); err != nil {
		return err
	}
	shown, err := o.ctl.Call(ctx, "dpif/show")
	if err != nil {
		return err
	}
	o.ports = map[string]string{}
	for _, m := range shownPort.FindAllStringSubmatch(shown, -1) {
		o.ports[m[1]] = m[2]
	}
	return nil
}

// shownPort is a line of dpif/show: the interface, its OpenFlow number and that in the datapath.
var shownPort = regexp.MustCompile(`(?m)^\s+(\S+) \d+/(\d+): \(`)

// plug adds the second bridge, the guests' ports and the network's tunnels. What other ports the flows name is
// not there, which is nothing to them.
func (o *oracle) plug(ctx context.Context) error {
	argv := []string{"add-br", thereBridge, "--", "set", "bridge", thereBridge, "datapath_type=netdev", "fail_mode=secure", "protocols=" + bridge.Protocols}
	port := func(br, name string, number uint32, options ...string) {
		argv = append(argv, "--", "add-port", br, name, "--", "set", "interface", name, fmt.Sprintf("ofport_request=%d", number))
		argv = append(argv, options...)
	}
	in := o.in
	port(bridge.Name, fromPort, in.from.port, "type=internal")
	port(bridge.Name, nearPort, in.near.port, "type=internal")
	port(thereBridge, farPort, in.far.port, "type=internal")
	encap := in.encaps[in.from.network]
	for br, h := range map[string]*compiledHost{bridge.Name: in.here, thereBridge: in.there} {
		port(br, tunPrefix+br, h.tunnels[encap], "type="+encap.String(), "options:remote_ip=flow", "options:key=flow", "options:local_ip="+h.tep.String())
	}
	_, err := o.b.Vsctl(ctx, argv...)
	return err
}

// load puts a host's groups and flows into a bridge.
func (o *oracle) load(ctx context.Context, br string, s *flows.State) error {
	var text strings.Builder
	for g := range s.Groups() {
		fmt.Fprintln(&text, "group add", g)
	}
	for f := range s.Flows() {
		fmt.Fprintln(&text, "flow add", f)
	}
	cmd := o.b.Command(ctx, "ovs-ofctl", "-O", openFlow13, "bundle", br, "-")
	cmd.Stdin = strings.NewReader(text.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ovs-ofctl bundle %s: %w: %s", br, err, out)
	}
	return nil
}

func (o *oracle) close() error {
	var err error
	if o.ctl != nil {
		err = o.ctl.Close()
	}
	if o.b != nil {
		err = errors.Join(err, o.b.Close())
	}
	return err
}

// question is what the switch is asked, and how the line of its answer has to begin that says what is done.
type question struct{ bridge, flow, frame, want string }

const datapathActions = "Datapath actions: "

// questions are those about a packet of a kind, one for each host that it comes to.
func (o *oracle) questions(k packetKind) []question {
	in := o.in
	q := question{bridge.Name, fmt.Sprintf("in_port=%d", in.from.port), fmt.Sprintf("%x", in.frame(k)), datapathActions}
	switch k {
	case kindLocal:
		q.want += o.ports[nearPort] + "\n"
	case kindDrop:
		q.want += "drop\n"
	case kindTunnel:
		key, encap := keyOf(in.from.network), in.encaps[in.from.network]
		q.want += fmt.Sprintf("set(tunnel(tun_id=%#x,src=%s,dst=%s,", key, in.here.tep, in.there.tep)
		return []question{q, {thereBridge,
			fmt.Sprintf("in_port=%d,tun_id=%d,tun_src=%s,tun_dst=%s", in.there.tunnels[encap], key, in.here.tep, in.there.tep),
			q.frame, datapathActions + o.ports[farPort] + "\n"}}
	}
	return []question{q}
}

// sample asks about the packet of a kind many times.
func (o *oracle) sample(k packetKind, packets int) func(context.Context) (harness.Sample, error) {
	return func(ctx context.Context) (harness.Sample, error) {
		all := o.questions(k)
		return perSecond(packets, o.b.CPU, func() error {
			for range packets {
				for _, q := range all {
					answer, err := o.ctl.Call(ctx, "ofproto/trace", q.bridge, q.flow, q.frame)
					if err != nil {
						return err
					}
					if !strings.Contains(answer+"\n", q.want) {
						return fmt.Errorf("ofproto/trace %s %s %s does not come to %q: %s", q.bridge, q.flow, q.frame, q.want, answer)
					}
				}
			}
			return nil
		})
	}
}
