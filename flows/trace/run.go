package trace

import (
	"fmt"
	"net/netip"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Options say what to assume and what to report. The zero Options follow every
// alternative and report outputs only.
type Options struct {
	// Steps asks for the tree of steps.
	Steps bool
	// Conns are what the connection tracker says, one for each time that a packet goes
	// through it; the last one counts for all further times. When empty, every state
	// that a connection may be in is a branch.
	Conns []Conn
	// MaxBranches bounds the branches, 64 when 0. Beyond it the verdict is Unknown.
	MaxBranches int
}

const defaultMaxBranches = 64

// Limits of Open vSwitch (MAX_DEPTH and MAX_RESUBMITS in ofproto-dpif-xlate.c). A
// packet that exceeds one is dropped, and what it would have caused before as well.
const (
	maxDepth     = 64
	maxResubmits = maxDepth * maxDepth
	// maxRecirculations is how often a packet may come back from the connection
	// tracker (MAX_RECIRC_DEPTH in dpif-netdev.c).
	maxRecirculations = 6
	// maxWaiting bounds the copies that come back, altogether.
	maxWaiting = 1024
)

// Trace is all that may become of a packet that comes in as p, whose in_port and
// tunnel metadata count. p is not changed.
func (s *Switch) Trace(p *Packet, o Options) Result {
	return s.branches(p, o, func(r *run) { r.begins(0) })
}

// Execute is Trace of a list of actions in place of the tables: a packet-out. An
// Output to flows.PortTable sends the packet through the tables.
func (s *Switch) Execute(p *Packet, as []flows.Action, o Options) Result {
	return s.branches(p, o, func(r *run) { r.do(as) })
}

func (s *Switch) branches(p *Packet, o Options, start func(*run)) Result {
	if o.MaxBranches == 0 {
		o.MaxBranches = defaultMaxBranches
	}
	res := Result{Packet: p}
	r := &run{sw: s, o: &o}
	for {
		r.begin(p)
		r.pass(start)
		r.finish()
		res.add(r.branch)
		// The next branch takes the next alternative at the last point of choice
		// that has one.
		n := len(r.choices)
		for n > 0 && r.choices[n-1].n+1 == r.choices[n-1].of {
			n--
		}
		if n == 0 {
			return res
		}
		if len(res.Branches) == o.MaxBranches {
			res.Verdict = Unknown
			last := &res.Branches[len(res.Branches)-1]
			last.Unknown = append(last.Unknown, fmt.Sprintf("more than %d combinations of what is not known: %s", o.MaxBranches, r.choices[n-1].What))
			return res
		}
		r.choices = r.choices[:n]
		r.choices[n-1].n++
	}
}

func (res *Result) add(b Branch) {
	if len(res.Branches) == 0 {
		res.Verdict = b.Verdict
	} else if res.Verdict != b.Verdict {
		res.Verdict = Unknown
	}
	res.Branches = append(res.Branches, b)
}

// run is one branch of one packet on its way.
type run struct {
	sw *Switch
	o  *Options

	p    Packet // as the tables see it
	base Packet // as it is on the wire: p as of the last output
	set  []flows.Action
	own  netip.Addr // tunnel destination that the packet came with

	table     uint8
	flow      *flows.Flow
	depth     int
	resubmits int
	failed    string // why the whole pass is void
	inBucket  bool   // it is not, if that was in a group's bucket: that ends alone
	outputs   int    // in the branch before the pass
	queued    int    // recirculations before it
	stack     []stacked
	cut       int  // bytes that the next copy lacks at its end
	exit      bool // nothing more is done with the packet
	freezing  bool // it goes on behind a recirculation, with what is in frozen
	paused    bool // it goes on when the controller says so
	again     bool // it goes on with the action that is being done
	last      bool // nothing follows what is being done
	nested    int  // how many actions of the datapath, with actions in them, this is in
	wasMPLS   bool // the packet has another header now, which was not read
	frozen    []cont

	at      *Step // the step that is going on, nil when steps are not asked for
	branch  Branch
	choices []Choice // of this branch, as far as they are taken
	next    int      // the choice to take
	waiting []waiting
	tracked int // times through the connection tracker
	came    int // times that the packet came back from it
	sent    int // copies that were sent there
}

// waiting is a packet that waits to go on behind a recirculation: with what is left of its
// actions, or in a table when that is nothing.
type waiting struct {
	p     Packet
	set   []flows.Action
	stack []stacked
	table uint8
	rest  []cont
	came  int // times that the packet comes back
	step  *Step
}

// stacked is what was pushed on the stack, and whether somebody said what it is.
type stacked struct {
	v      flows.Value
	unsure bool
}

// cont is what is left to do of a list of actions, and of the flow it belongs to.
type cont struct {
	as    []flows.Action
	then  *flows.Flow // whose instructions behind apply-actions follow, nil for none
	table uint8
	flow  *flows.Flow
}

func (r *run) begin(p *Packet) {
	r.branch = Branch{}
	r.next, r.tracked, r.came, r.sent = 0, 0, 0, 0
	r.waiting = r.waiting[:0]
	r.p, r.base = *p, *p
	r.own = tunnelDst(p)
	r.set, r.stack = nil, nil
	r.table, r.flow = 0, nil
	r.at = nil
	if r.o.Steps {
		r.at = &Step{}
	}
}

// pass is one translation: from a start to where the packet ends or is recirculated.
// All of it fails or nothing.
func (r *run) pass(start func(*run)) {
	root := r.at
	r.depth, r.resubmits, r.failed, r.inBucket, r.cut, r.nested = 0, 0, "", false, 0, 0
	r.exit, r.freezing, r.paused, r.again, r.wasMPLS, r.frozen, r.last = false, false, false, false, false, nil, true
	r.outputs, r.queued = len(r.branch.Outputs), len(r.waiting)
	start(r)
	r.end()
	if r.failed != "" {
		r.undo()
		r.at = root
		r.note("%s: Open vSwitch drops the packet, and all copies made of it so far", r.failed)
	}
	if root != nil {
		r.branch.Steps = append(r.branch.Steps, root.Steps...)
		root.Steps = nil
	}
}

// undo takes back all copies of this pass.
func (r *run) undo() {
	r.branch.Outputs, r.waiting = r.branch.Outputs[:r.outputs], r.waiting[:r.queued]
}

// finish does what waits behind recirculations, and comes to a verdict.
func (r *run) finish() {
	for len(r.waiting) > 0 {
		w := r.waiting[0]
		r.waiting = append(r.waiting[:0], r.waiting[1:]...)
		r.p, r.base, r.set, r.stack, r.came = w.p, w.p, w.set, w.stack, w.came
		if r.at != nil {
			r.at = &Step{}
		}
		r.table, r.flow = w.table, nil
		done := r.at
		if w.step != nil {
			r.at = w.step
		}
		steps := r.branch.Steps
		r.pass(func(r *run) {
			if len(w.rest) == 0 {
				r.begins(w.table)
				return
			}
			r.resume(w.rest)
		})
		if w.step != nil {
			w.step.Steps = r.branch.Steps[len(steps):]
			r.branch.Steps = steps
		}
		r.at = done
	}
	b := &r.branch
	b.Assumes = append([]Choice(nil), r.choices...)
	switch {
	case len(b.Unknown) > 0:
		b.Verdict = Unknown
	case len(b.Outputs) > 0:
		b.Verdict = Forwarded
	}
	if len(b.Outputs) > 0 {
		b.Drop = ""
	}
}

// choose takes one of n alternatives, n ≥ 1, and notes which.
func (r *run) choose(what string, n int, name func(int) string) int {
	if n == 1 {
		return 0
	}
	if r.next == len(r.choices) {
		r.choices = append(r.choices, Choice{What: what, of: n})
	}
	c := &r.choices[r.next]
	r.next++
	c.Took = name(c.n)
	return c.n
}

// step adds a step to the one that is going on and returns it, nil when steps are
// not asked for.
func (r *run) step(s Step) *Step {
	if r.at == nil {
		return nil
	}
	r.at.Steps = append(r.at.Steps, &s)
	return &s
}

// within does something as part of a step.
func (r *run) within(s *Step, do func()) {
	if s == nil {
		do()
		return
	}
	outer := r.at
	r.at = s
	do()
	r.at = outer
}

// note says why something had no effect.
func (r *run) note(format string, args ...any) {
	if r.at == nil && r.branch.Drop != "" {
		return
	}
	s := fmt.Sprintf(format, args...)
	r.branch.Drop = s
	r.step(Step{Kind: StepNote, Note: s})
}

// unknown says what is not interpreted.
func (r *run) unknown(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	r.branch.Unknown = append(r.branch.Unknown, s)
	r.step(Step{Kind: StepUnknown, Note: s})
}

// fail voids the pass, once.
func (r *run) fail(format string, args ...any) {
	if r.failed == "" {
		r.failed = fmt.Sprintf(format, args...)
	}
}

// mayDescend checks the limits before a table or a group is entered.
func (r *run) mayDescend() bool {
	switch {
	case r.failed != "":
		return false
	case r.depth >= maxDepth:
		r.fail("tables and groups nested more than %d deep", maxDepth)
	case r.resubmits >= maxResubmits:
		r.fail("more than %d tables visited", maxResubmits)
	}
	return r.failed == ""
}

// miss is what a table does with a packet that no flow takes.
type miss uint8

const (
	missDrops  miss = iota // OpenFlow 1.3: it is dropped
	missIgnore             // a resubmit has no effect
)

// begins sends the packet through the tables from table n on.
func (r *run) begins(n uint8) { r.visit(n, r.p.InPort(), missDrops) }

// enter looks the packet up in a table, as one from in_port, on behalf of a flow or
// a list of actions.
func (r *run) enter(n uint8, inPort uint32, onMiss miss) {
	if !r.mayDescend() {
		return
	}
	deeper := 0
	if n <= r.table {
		deeper = 1
	}
	r.depth += deeper
	r.resubmits++
	r.visit(n, inPort, onMiss)
	r.depth -= deeper
}

// visit does what a table says.
func (r *run) visit(n uint8, inPort uint32, onMiss miss) {
	f := r.find(n, inPort)
	s := r.step(Step{Kind: StepTable, Table: n, Flow: f})
	if f == nil {
		if onMiss == missDrops {
			r.dropped(s, n, nil)
		}
		return
	}
	r.branch.Hits = append(r.branch.Hits, f)
	outer, outerFlow := r.table, r.flow
	r.table, r.flow = n, f
	r.within(s, func() { r.instructions(s, f) })
	r.table, r.flow = outer, outerFlow
}

// find is the lookup with all that may be unknown about it.
func (r *run) find(n uint8, inPort uint32) *flows.Flow {
	hit := r.sw.lookup(n, &r.p, inPort)
	f, priority := hit.flow, int32(-1)
	if f != nil {
		priority = int32(f.Priority)
	}
	t := r.sw.tables[n]
	if t == nil {
		return nil
	}
	for _, u := range t.unread {
		if int32(u.Priority) >= priority && r.p.Matches(u.Match) {
			r.unknown("table %d has a flow of priority %d that cannot be read: %s", n, u.Priority, u.Why)
		}
	}
	if !r.p.unsure.empty() {
		if field, ok := t.looks(priority, r.p.unsure); ok {
			r.unknown("table %d looks at %s, which the connection has and nobody said", n, field)
		}
	}
	if len(hit.also) == 0 {
		return f
	}
	all := append([]*flows.Flow{f}, hit.also...)
	i := r.choose(fmt.Sprintf("table %d: which of the flows of priority %d takes the packet", n, f.Priority), len(all),
		func(i int) string { return all[i].Match.String() })
	return all[i]
}

// instructions does those of a flow, in the order of OpenFlow 1.3.5 section 5.9.
func (r *run) instructions(s *Step, f *flows.Flow) {
	if len(f.Apply) == 0 && len(f.Write) == 0 && f.Goto == 0 && len(r.set) == 0 {
		r.dropped(s, f.Table, f)
	}
	if f.Meter != 0 && r.at != nil {
		r.step(Step{Kind: StepNote, Note: fmt.Sprintf("meter %d lets the packet through, unless too many come", f.Meter)})
	}
	r.list(f.Apply, f, nil)
}

// rest does the instructions of a flow behind apply-actions.
func (r *run) rest(f *flows.Flow) {
	if f.ClearActions {
		r.set = nil
	}
	if len(f.Write) > 0 {
		r.set = append(r.set[:len(r.set):len(r.set)], f.Write...)
	}
	if f.MetadataMask != 0 {
		r.write(flows.Metadata, flows.U(f.Metadata), flows.U(f.MetadataMask))
	}
	if f.Goto != 0 {
		r.enter(f.Goto, r.p.InPort(), missDrops)
	}
}

// dropped says that the packet ends in a table, by a flow without instructions or
// by none.
func (r *run) dropped(s *Step, n uint8, by *flows.Flow) {
	why := fmt.Sprintf("no flow of table %d takes the packet", n)
	if by != nil {
		why = fmt.Sprintf("table %d drops it: %s", n, by)
	}
	r.branch.Drop = why
	if s != nil {
		s.Nearest = r.sw.nearest(n, &r.p, by)
	}
}
