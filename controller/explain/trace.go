package explain

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Hosts is what the switches of an overlay hold, as far as they were read. It is for
// one goroutine.
type Hosts struct {
	overlay  *Overlay
	switches map[string]*trace.Switch
	names    map[string]*names
	missing  map[string]error
}

// NewHosts are the hosts of an overlay, none of which was read yet.
func NewHosts(o *Overlay) *Hosts {
	return &Hosts{overlay: o, switches: map[string]*trace.Switch{}, names: map[string]*names{}, missing: map[string]error{}}
}

// Add says what a host's switch holds.
func (hs *Hosts) Add(host string, t *Tables) error {
	sw, n, err := t.compile(hs.overlay, host)
	if err != nil {
		return err
	}
	hs.switches[host], hs.names[host] = sw, n
	return nil
}

// Miss says why a host could not be read.
func (hs *Hosts) Miss(host string, err error) { hs.missing[host] = err }

// Trace follows a frame from a port to wherever copies of it end. unread are the hosts
// that copies go to and that were neither read nor missed: the Report counts them as
// unknown; Add them and trace again. The report is the same whoever traces when.
func (hs *Hosts) Trace(p *Prepared, o trace.Options) (r *Report, unread []string, err error) {
	sw := hs.switches[p.Port.Host]
	if sw == nil {
		return nil, nil, fmt.Errorf("host %s, where port %s is bound, was not read", p.Port.Host, p.Port.Name)
	}
	packet, err := trace.NewPacket(p.Port.OFPort, p.Frame)
	if err != nil {
		return nil, nil, err
	}
	network, err := hs.network()
	if err != nil {
		return nil, nil, err
	}
	o.Steps = true
	root, err := network.Trace(p.Port.Host, packet, o)
	if err != nil {
		return nil, nil, err
	}
	t := &teller{hosts: hs}
	r = &Report{Port: p.Port.Name, Host: p.Port.Host, OFPort: p.Port.OFPort, Network: p.Network, Filled: p.Filled,
		Packet: packet.String(), Frame: hex.EncodeToString(p.Frame), Deliveries: []Delivery{}}
	var verdict string
	r.Hop, verdict = t.hop(root, "", nil)
	r.Verdict, r.Deliveries, r.Why = verdict, append(r.Deliveries, t.deliveries...), t.why
	slices.Sort(t.unread)
	return r, slices.Compact(t.unread), nil
}

func (hs *Hosts) network() (*trace.Network, error) {
	var hosts []trace.Host
	for _, h := range hs.overlay.Hosts {
		if sw := hs.switches[h.Name]; sw != nil {
			hosts = append(hosts, trace.Host{Name: h.Name, Switch: sw, TEPs: h.endpoints()})
		}
	}
	return trace.NewNetwork(hosts...)
}

// teller puts a trace into words.
type teller struct {
	hosts      *Hosts
	deliveries []Delivery
	why        []string
	unread     []string
}

func (t *teller) because(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(t.why, s) {
		t.why = append(t.why, s)
	}
}

// hop puts a hop, and those behind it, into words, and says what becomes of the packet.
func (t *teller) hop(h *trace.Hop, from string, assumes []string) (*Hop, string) {
	out := &Hop{Host: h.Host, From: from, Packet: h.Result.Packet.Match().Format(t.hosts.names[h.Host].foreign)}
	verdict := ""
	for i := range h.Result.Branches {
		b := &branchTeller{teller: t, hop: h, index: i, branch: &h.Result.Branches[i], names: t.hosts.names[h.Host]}
		told := b.tell(assumes)
		out.Branches = append(out.Branches, told)
		switch verdict {
		case "", told.Verdict:
			verdict = told.Verdict
		default:
			t.because("it depends on what is not known: %s", b.branch.Assumes[0].What)
			verdict = Unknown
		}
	}
	if len(h.Result.Branches) == 1 || h.Result.Verdict != trace.Unknown {
		return out, verdict
	}
	// The interpreter may know of more alternatives than it followed.
	last := h.Result.Branches[len(h.Result.Branches)-1]
	if len(last.Unknown) > 0 {
		verdict = Unknown
	}
	return out, verdict
}

// branchTeller puts a branch of a hop into words.
type branchTeller struct {
	*teller
	hop    *trace.Hop
	index  int
	branch *trace.Branch
	names  *names
	used   []bool // outputs that a step was found for
	copies int
	unsure bool
	drop   *Drop
	out    Branch
}

func (b *branchTeller) tell(above []string) Branch {
	for _, a := range b.branch.Assumes {
		b.out.Assumes = append(b.out.Assumes, a.What+": "+a.Took)
	}
	b.out.Unknown = b.branch.Unknown
	b.used = make([]bool, len(b.branch.Outputs))
	b.out.Steps = []Step{}
	b.steps(b.branch.Steps, 0, slices.Concat(above, b.out.Assumes))
	for _, u := range b.branch.Unknown {
		b.because("on %s: %s", b.hop.Host, u)
		b.unsure = true
	}
	switch {
	case b.unsure:
		b.out.Verdict = Unknown
	case b.copies > 0:
		b.out.Verdict = Forwarded
	default:
		b.out.Verdict = Dropped
	}
	if len(b.branch.Outputs) == 0 && len(b.branch.Unknown) == 0 {
		b.out.Drop = b.drop
		if b.drop == nil {
			why := b.branch.Drop
			if why == "" {
				why = "no action sends it anywhere"
			}
			b.out.Drop = &Drop{Why: why}
		}
		b.because("dropped on %s: %s", b.hop.Host, b.out.Drop.Why)
	}
	return b.out
}

// steps puts steps one below the other. Tables follow each other at the same depth.
func (b *branchTeller) steps(list []*trace.Step, depth int, assumes []string) {
	for _, s := range list {
		b.step(s, depth, assumes)
	}
}

func (b *branchTeller) step(s *trace.Step, depth int, assumes []string) {
	out := Step{Depth: depth, Table: s.Table, Text: s.Note, Changes: b.changes(s.Changes, s.Flow)}
	inner := depth
	switch s.Kind {
	case trace.StepTable:
		out.Kind, out.Name = KindTable, pipeline.TableName(s.Table)
		if s.Flow != nil {
			out.Flow = b.flow(s.Flow)
		}
		if len(s.Steps) == 0 {
			b.dropped(s, out.Flow)
		}
	case trace.StepActionSet:
		out.Kind, out.Text = KindActionSet, "action set"
	case trace.StepGroup:
		out.Kind, out.Text = KindGroup, "group "+b.group(s.Number)
		inner++
	case trace.StepBucket:
		out.Kind, out.Text = KindBucket, fmt.Sprintf("bucket %d", s.Number)
		inner++
	case trace.StepClone:
		out.Kind, out.Text = KindBucket, "clone"
		inner++
	case trace.StepOutput:
		out.Kind, out.Output = KindOutput, b.output(s.Output, assumes)
	case trace.StepNote:
		out.Kind = KindNote
	case trace.StepRecirculate:
		out.Kind, out.Name = KindRecirculate, pipeline.TableName(s.Table)
		inner++
	default:
		out.Kind = KindUnknown
	}
	b.out.Steps = append(b.out.Steps, out)
	b.steps(s.Steps, inner, assumes)
}

func (b *branchTeller) group(id uint32) string {
	if n, ok := pipeline.NetworkOfGroup(id); ok {
		if name := b.names.network(n); name != "" {
			return name
		}
	}
	return fmt.Sprint(id)
}

func (b *branchTeller) flow(f *flows.Flow) *Flow {
	o := b.names.of(f)
	out := &Flow{Priority: f.Priority, Match: f.Match.Format(o), Actions: actions(f, o), Ours: f.Cookie.Ours(), Raw: f.String()}
	out.OwnerKind, out.Owner = b.names.owner(f)
	if out.Ours {
		out.Feature, out.Drop = pipeline.FeatureName(f.Cookie.Feature()), pipeline.IsDrop(f.Cookie.Feature())
		out.Network = b.names.networkOf(f)
		out.Tenant = tenant(out.Network)
	}
	return out
}

// dropped notes a table in which the packet ends. The last one counts.
func (b *branchTeller) dropped(s *trace.Step, f *Flow) {
	if s.Flow != nil && (len(s.Flow.Apply) > 0 || len(s.Flow.Write) > 0) {
		return
	}
	d := &Drop{Table: s.Table, Name: pipeline.TableName(s.Table), Flow: f, Why: fmt.Sprintf("no flow of table %s takes the packet", tableName(s.Table))}
	switch {
	case f != nil && f.Drop:
		d.Why, d.Meaning = f.Feature, pipeline.FeaturePurpose(s.Flow.Cookie.Feature())
	case f != nil:
		d.Why = fmt.Sprintf("a flow of table %s without actions takes the packet", tableName(s.Table))
	}
	if n := s.Nearest; n != nil {
		d.Nearest = b.flow(n.Flow)
		d.Differs = b.differs(n)
	}
	b.drop = d
}

func (b *branchTeller) differs(n *trace.Nearest) []string {
	o := b.names.of(n.Flow)
	var out []string
	for _, d := range n.Differs {
		out = append(out, formatField(d.Field, d.Value, d.Mask, o))
	}
	return out
}

func (b *branchTeller) changes(list []trace.Change, f *flows.Flow) []string {
	tagged := slices.ContainsFunc(list, func(c trace.Change) bool { return c.Field == flows.VLANTCI })
	var out []string
	for _, c := range list {
		switch {
		case c.Field == flows.VLANTCI:
			out = append(out, formatTCI(c.Now.Lo))
		case tagged && (c.Field == flows.VLANVID || c.Field == flows.VLANPCP):
		default:
			out = append(out, formatField(c.Field, c.Now, c.Field.FullMask(), b.names.of(f)))
		}
	}
	return out
}

// output puts a copy that leaves, and what happens behind it, into words.
func (b *branchTeller) output(o *trace.Output, assumes []string) *Output {
	out := &Output{OFPort: o.Port, Port: b.port(o.Port), Frame: hex.EncodeToString(o.Frame)}
	i := b.find(o)
	if i < 0 {
		out.Void = "the switch gives up the packet with all its copies"
		return out
	}
	if o.Tunnel == nil {
		b.copies++
		b.deliveries = append(b.deliveries, Delivery{Host: b.hop.Host, Port: out.Port, OFPort: o.Port,
			Controller: o.Port == flows.PortController, VLAN: vlanOf(o.Frame), Frame: out.Frame, Assumes: assumes})
		return out
	}
	to := b.hostAt(o.Tunnel.Remote)
	out.Tunnel = &Tunnel{Encap: o.Tunnel.Encap, Key: o.Tunnel.Key, Remote: o.Tunnel.Remote.String()}
	if to != nil {
		out.Tunnel.Host = to.Name
	}
	b.behind(i, out, to, assumes)
	return out
}

// behind says what happens behind the tunnel of output i.
func (b *branchTeller) behind(i int, out *Output, to *Host, assumes []string) {
	n := slices.IndexFunc(b.hop.Next, func(n trace.NextHop) bool { return n.Branch == b.index && n.Output == i })
	switch {
	case n >= 0 && b.hop.Next[n].Hop != nil:
		before := len(b.deliveries)
		next, verdict := b.teller.hop(b.hop.Next[n].Hop, b.hop.Host, assumes)
		out.Next = next
		b.copies += len(b.deliveries) - before
		b.unsure = b.unsure || verdict == Unknown
	case to != nil && b.hosts.names[to.Name] == nil:
		b.unsure = true
		if err := b.hosts.missing[to.Name]; err != nil {
			// What to do is said where the error is reported.
			why, _, _ := strings.Cut(err.Error(), "\n")
			out.Void = "unknown from here: " + why
		} else {
			out.Void = fmt.Sprintf("unknown from here: host %s was not read", to.Name)
			b.unread = append(b.unread, to.Name)
		}
		b.because("%s", out.Void)
	case n >= 0:
		out.Void = b.hop.Next[n].Lost
		b.because("lost between the hosts: %s", out.Void)
	}
}

// find is the output of the branch that a step made, -1 if it was taken back.
func (b *branchTeller) find(o *trace.Output) int {
	for i := range b.branch.Outputs {
		c := &b.branch.Outputs[i]
		if !b.used[i] && c.Port == o.Port && c.Flow == o.Flow && slices.Equal(c.Frame, o.Frame) && (c.Tunnel == o.Tunnel) {
			b.used[i] = true
			return i
		}
	}
	return -1
}

func (b *branchTeller) hostAt(a netip.Addr) *Host {
	return find(b.hosts.overlay.Hosts, func(h *Host) bool { return h.TEP.IsValid() && h.TEP.Unmap() == a.Unmap() })
}

func (b *branchTeller) port(n uint32) string {
	if name := b.names.ports[n]; name != "" {
		return name
	}
	switch n {
	case flows.PortController:
		return "CONTROLLER"
	case flows.PortLocal:
		return "LOCAL"
	}
	return fmt.Sprint(n)
}
