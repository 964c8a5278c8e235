package trace

import "github.com/ofctl-lab/ofctl-lab/flows"

// Runner sends packets through a switch, one after the other, in memory that it uses
// again. It takes the first of several alternatives, as a switch would take one of
// them, and records no steps. It is for one goroutine.
type Runner struct{ r run }

// NewRunner makes a Runner with the options that apply to one branch.
func (s *Switch) NewRunner(o Options) *Runner {
	o.Steps = false
	return &Runner{run{sw: s, o: &o}}
}

// Forward is what becomes of a packet that comes in as p. The result, but not the
// frames in it, is valid until the next call.
func (r *Runner) Forward(p *Packet) *Branch {
	r.reset(p)
	r.r.pass(func(r *run) { r.begins(0) })
	r.r.finish()
	return &r.r.branch
}

// Execute is Forward of a list of actions in place of the tables (see Switch.Execute).
func (r *Runner) Execute(p *Packet, as []flows.Action) *Branch {
	r.reset(p)
	r.r.pass(func(r *run) { r.do(as) })
	r.r.finish()
	return &r.r.branch
}

func (r *Runner) reset(p *Packet) {
	outputs, hits := r.r.branch.Outputs[:0], r.r.branch.Hits[:0]
	r.r.begin(p)
	r.r.branch.Outputs, r.r.branch.Hits = outputs, hits
	r.r.choices = r.r.choices[:0]
}
