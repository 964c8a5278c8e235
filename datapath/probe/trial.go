package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/ovsctl"
)

// trial tries a feature. An error that is *unlike, or a refusal of Open vSwitch, is the answer "no"; any other says that
// it could not be tried. The detail is what was seen besides.
type trial struct {
	run func(context.Context, *scratch) (detail string, err error)
}

// rules are what the bridge is to hold, in the syntax of ovs-ofctl.
type rules struct{ meters, groups, flows []string }

// step sends a frame and says what comes of it.
type step struct {
	in   string // the port that it is sent to
	send packet
	at   string // the port at which it arrives; empty to wait for nothing
	want string // what is true of it then; see describe
	// contrary is a port at which the same frame says at once that the answer is no.
	contrary string
}

// arrives is the step of a frame that arrives.
func arrives(in string, send packet, at, want string) step {
	return step{in: in, send: send, at: at, want: want}
}

// unlessAt is the step with a port at which the frame says no.
func (st step) unlessAt(port string) step {
	st.contrary = port
	return st
}

// The ports, in the tables of trials.
const (
	p1 = "probe1"
	p2 = "probe2"
	p3 = "probe3"
)

const (
	// patience is how long a frame may take, also in a virtual machine without hardware's help.
	patience = 8 * time.Second
	// trialWithin bounds one trial.
	trialWithin = 60 * time.Second
)

// sends is the trial of rules by frames, one after the other.
func sends(r rules, steps ...step) trial {
	return trial{func(ctx context.Context, s *scratch) (string, error) {
		if err := s.install(ctx, r); err != nil {
			return "", err
		}
		return "", s.steps(ctx, steps...)
	}}
}

func (s *scratch) steps(ctx context.Context, steps ...step) error {
	for _, st := range steps {
		if err := s.step(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// flows are rules with nothing else.
func flows(lines ...string) rules { return rules{flows: lines} }

func (s *scratch) step(ctx context.Context, st step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.wires.send(st.in, st.send.frame()); err != nil {
		return err
	}
	if st.at == "" {
		return nil
	}
	_, err := s.wires.await(ctx, st)
	return err
}

// lookAgain is how often something is asked for that takes a moment.
const lookAgain = 400 * time.Millisecond

// until asks again and again until it is told yes. At the end of ctx the error is that of ctx.
func until(ctx context.Context, yes func() (bool, error)) error {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		if ok, err := yes(); ok || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reset takes away everything that an earlier trial has left in the switch.
func (s *scratch) reset(ctx context.Context) error {
	for _, command := range []string{"del-flows", "del-groups", "del-meters"} {
		if _, err := s.c.Ofctl(ctx, bridge, command); err != nil {
			return err
		}
	}
	// Without the datapath's name, which 3.1 takes for a connection: there is no other datapath here.
	for _, command := range []string{"dpctl/flush-conntrack", "revalidator/wait", "revalidator/purge"} {
		if _, err := s.c.Appctl(ctx, command); err != nil {
			return err
		}
	}
	s.wires.drain()
	return nil
}

// install adds rules to the bridge.
func (s *scratch) install(ctx context.Context, r rules) error {
	for _, m := range r.meters {
		if _, err := s.c.Ofctl(ctx, bridge, "add-meter", m); err != nil {
			return err
		}
	}
	if err := s.file(ctx, "add-groups", r.groups); err != nil {
		return err
	}
	return s.file(ctx, "add-flows", r.flows)
}

// file gives ovs-ofctl a file of lines.
func (s *scratch) file(ctx context.Context, command string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	path := filepath.Join(s.dir, "rules")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	_, err := s.c.Ofctl(ctx, bridge, command, path)
	return err
}

// slow says that the datapath sends packets of some flow to ovs-vswitchd, each of them.
func (s *scratch) slow(ctx context.Context) (bool, error) {
	out, err := s.c.Appctl(ctx, "dpctl/dump-flows", datapathName(s.datapath))
	return strings.Contains(out, "slow_path(action)"), err
}

// Try asks and tries every feature on a scratch bridge. progress, if not nil, is told the title of each before
// it is tried.
func Try(ctx context.Context, dp Datapath, progress func(title string)) (_ *Report, err error) {
	s, err := startScratch(ctx, dp)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	asked, err := Ask(ctx, s.c, bridge)
	if err != nil {
		return nil, err
	}
	r := &Report{Schema: Schema, Environment: asked.Environment}
	for _, f := range Features() {
		if progress != nil {
			progress(f.Title)
		}
		found := Finding{Feature: f.Name}
		if f.question.from != nowhere {
			found.Asked = asked.Answer(f)
		}
		if f.Tried() {
			if err := s.try(ctx, f, &found); err != nil {
				return nil, fmt.Errorf("try %s on datapath type %s: %w", f.Title, dp, err)
			}
		}
		r.Findings = append(r.Findings, found)
	}
	return r, nil
}

// try tries one feature and notes what came of it.
func (s *scratch) try(ctx context.Context, f Feature, found *Finding) error {
	ctx, cancel := context.WithTimeout(ctx, trialWithin)
	defer cancel()
	if err := s.reset(ctx); err != nil {
		return err
	}
	detail, err := f.trial.run(ctx, s)
	if err == nil {
		slow, err := s.slow(ctx)
		found.Tried, found.Slow, found.Detail = Yes, slow, detail
		return err
	}
	if text, is := answer(err); is {
		found.Tried, found.Detail = No, text
		// A daemon that is gone is no answer.
		return s.alive(ctx)
	}
	return err
}

// maxDetail bounds what is kept of an answer, in bytes.
const maxDetail = 300

// answer is what an error says of the datapath, if it says anything of it.
func answer(err error) (text string, is bool) {
	var seen *unlike
	var refused *ovsctl.CommandError
	switch {
	case errors.As(err, &seen):
		text = seen.text
	case errors.As(err, &refused) && refused.Stderr != "":
		text, _, _ = strings.Cut(refused.Stderr, "\n")
		text = "refused: " + text
	default:
		return "", false
	}
	if len(text) > maxDetail {
		text = text[:maxDetail]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text), true
}
