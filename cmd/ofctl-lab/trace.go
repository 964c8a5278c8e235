package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// traceOptions are the flags of trace.
type traceOptions struct {
	sourceOptions
	frame, pcap       string
	packet            int
	live              bool
	minimal, detailed bool
	raw               bool
	ct                []string
}

func newTrace(a *app) *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace PORT [PACKET]",
		Short: "Explain what becomes of a packet, table by table and host by host",
		Long: `Explain what becomes of a packet that the guest of PORT sends: which flow takes it in
each table, what that flow was compiled for and what it changes, into which tunnel it
goes under which key, and on over the hosts to where every copy ends. For a drop it says
the reason, and the nearest flow that would have let the packet pass.

PACKET is a match of ovs-ofctl: icmp,nw_dst=10.1.1.2. What it leaves out is filled in:
the source is the port's; the destination MAC that of the port with the destination
address, and if there is none, what is traced is the ARP request that a guest would send.
--frame or --pcap give the frame itself.

The flows are read from the switches for this answer. --planned takes those that the
controller compiles from the newest revision instead, and --dump files, each of what
'dump-flows --raw' and 'dump-flows --raw --groups' print; they need the topology file
for the names, and no controller.

--live also sends the frame through the switch as if it came from PORT, and reports what
the flows and ports on its way have counted meanwhile. Other traffic counts as well.

What depends on something that nobody said, such as the state of a connection (--ct), is
followed every way, each with what it assumes. What cannot be decided is unknown.`,
		Example: `  ofctl-lab trace red-a icmp,nw_dst=10.1.1.2
  ofctl-lab trace red-a arp,arp_tpa=10.1.1.2 --detailed
  ofctl-lab trace red-a icmp,nw_src=10.1.1.9,nw_dst=10.1.1.2 --minimal
  ofctl-lab trace sw1-et1 icmp,dl_vlan=10,nw_src=10.1.1.8,nw_dst=10.1.1.2 --planned
  ofctl-lab trace red-a --frame ffffffffffff0200000000010806 -o json
  ofctl-lab trace red-a icmp,nw_dst=10.1.1.2 --live
  ofctl-lab trace red-a icmp,nw_dst=10.1.1.2 -f configs/topologies/two-hosts.yaml --dump host1=host1.flows --dump host2=host2.flows`,
		Args: args(1, 2, "PORT [PACKET]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			return a.trace(cmd, o, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.frame, "frame", "", "the frame in hexadecimal, from the destination MAC on")
	fl.StringVar(&o.pcap, "pcap", "", "the capture (pcap or pcapng) that has the frame")
	fl.IntVar(&o.packet, "packet", 1, "with --pcap: which packet, from 1")
	o.addFlags(cmd)
	fl.BoolVar(&o.live, "live", false, "also send the frame, and report what was counted")
	fl.BoolVar(&o.minimal, "minimal", false, "the verdict only")
	fl.BoolVar(&o.detailed, "detailed", false, "also the packet on every host, the actions, and groups bucket by bucket")
	fl.BoolVar(&o.raw, "raw", false, "also the flows as ovs-ofctl prints them")
	fl.StringSliceVar(&o.ct, "ct", nil, "state of the connection, of new, est, rel, rpl and inv (default: every state that may be)")
	addFormatFlag(cmd, "json and yaml hold all that --detailed --raw shows")
	return cmd
}

func (o *traceOptions) check(args []string) error {
	given := 0
	for _, is := range []bool{len(args) == 2, o.frame != "", o.pcap != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return usagef("say what packet port %s sends, for example icmp,nw_dst=10.1.1.2, or give it with --frame or --pcap", args[0])
	case given > 1:
		return usagef("a packet is given in one way: as PACKET, by --frame or by --pcap")
	case o.packet < 1:
		return usagef("--packet %d: packets are counted from 1", o.packet)
	case o.packet != 1 && o.pcap == "":
		return usagef("--packet is for --pcap")
	case o.minimal && o.detailed:
		return usagef("--minimal and --detailed exclude each other")
	case o.live && (o.planned || len(o.dumps) > 0):
		return usagef("--live compares with the flows in the switches: it excludes --planned and --dump")
	}
	if err := o.sourceOptions.check(); err != nil {
		return err
	}
	_, err := o.conns()
	return err
}

// connWords are the bits of a connection's state by their names in ovs-fields(7).
var connWords = []struct {
	word string
	bit  uint32
}{{"new", trace.ConnNew}, {"est", trace.ConnEstablished}, {"rel", trace.ConnRelated}, {"rpl", trace.ConnReply}, {"inv", trace.ConnInvalid}}

// conns are the states of connections to assume; none means all.
func (o *traceOptions) conns() ([]trace.Conn, error) {
	var c trace.Conn
	var words []string
	for _, w := range connWords {
		words = append(words, w.word)
		if slices.Contains(o.ct, w.word) {
			c.State |= w.bit
		}
	}
	for _, w := range o.ct {
		if !slices.Contains(words, w) {
			return nil, usagef("--ct: a connection is not %q; %s", w, meant(w, words))
		}
	}
	if len(o.ct) == 0 {
		return nil, nil
	}
	return []trace.Conn{c}, nil
}

func (a *app) trace(cmd *cobra.Command, o traceOptions, args []string) error {
	ctx := cmd.Context()
	overlay, source, err := a.flowSource(cmd, o.sourceOptions)
	if err != nil {
		return err
	}
	defer source.Close()
	var names []string
	for _, p := range overlay.Ports {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, args[0]) {
		return fmt.Errorf("there is no port %q; %s", args[0], meant(args[0], names))
	}
	packet, err := a.packet(overlay, o, args)
	if err != nil {
		if bad := (*explain.PacketError)(nil); errors.As(err, &bad) {
			return usageError{err}
		}
		return err
	}
	t := &tracer{source: source, hosts: explain.NewHosts(overlay), packet: packet}
	if t.options.Conns, err = o.conns(); err != nil {
		return err
	}
	r, err := t.run(ctx)
	if err != nil {
		return err
	}
	incomplete := errors.Join(t.bad...)
	if o.live {
		online := source.(*onlineSource) // by check
		if r.Live, err = online.live(ctx, r, packet.Frame); err != nil {
			incomplete = errors.Join(incomplete, err)
		}
	}
	err = a.emit(r, func(t *tables, _ format) { (&tracePrinter{tables: t, options: o}).report(r) })
	return errors.Join(err, incomplete)
}

// packet is the frame to trace, as it was given.
func (a *app) packet(overlay *explain.Overlay, o traceOptions, args []string) (*explain.Prepared, error) {
	if len(args) == 2 {
		return explain.Describe(overlay, args[0], args[1])
	}
	var frame []byte
	var err error
	if o.pcap != "" {
		frame, err = readCapture(o.pcap, o.packet)
	} else {
		frame, err = explain.ParseHex(o.frame)
	}
	if err != nil {
		return nil, err
	}
	return explain.FromFrame(overlay, args[0], frame)
}

func readCapture(file string, n int) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the capture: %w", err)
	}
	defer f.Close()
	b, err := explain.ReadPcap(f, n)
	if err != nil {
		return nil, fmt.Errorf("capture %s: %w", file, err)
	}
	return b, nil
}

// tracer reads the hosts that a packet comes to, and no others.
type tracer struct {
	source  flowSource
	hosts   *explain.Hosts
	packet  *explain.Prepared
	options trace.Options
	bad     []error // what could not be read
}

func (t *tracer) run(ctx context.Context) (*explain.Report, error) {
	first, err := t.source.read(ctx, t.packet.Port.Host)
	if first == nil {
		return nil, err
	}
	if err != nil {
		t.bad = append(t.bad, err)
	}
	if err := t.hosts.Add(t.packet.Port.Host, first); err != nil {
		return nil, err
	}
	for {
		r, unread, err := t.hosts.Trace(t.packet, t.options)
		if err != nil {
			return nil, err
		}
		if len(unread) == 0 {
			r.Source = t.source.name()
			return r, nil
		}
		if err := t.readAll(ctx, unread); err != nil {
			return nil, err
		}
	}
}

// readAll reads hosts at once. One that cannot be read is missed, and said to be in
// the error in the end.
func (t *tracer) readAll(ctx context.Context, hosts []string) error {
	read, errs := readHosts(ctx, t.source, hosts)
	for i, h := range hosts {
		if errs[i] != nil {
			t.bad = append(t.bad, errs[i])
		}
		if read[i] == nil {
			t.hosts.Miss(h, errs[i])
			continue
		}
		if err := t.hosts.Add(h, read[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}
