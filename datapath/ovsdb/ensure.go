package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// maxAttempts bounds how often Ensure writes: once, once more for another
// datapath type, once to ask what is applied, and again when somebody else wrote
// at the same time.
const maxAttempts = 5

// Ensure makes the integration bridge what spec says. It writes one transaction
// if anything differs and none if nothing does, and returns nil only when the
// switch itself reports that it has applied everything: the bridge runs with
// its datapath id, and every tunnel port has an OpenFlow number and no error.
// Otherwise the error says what exactly is not right.
//
// Calls on one session take turns. Ensure waits for ctx and Options.ApplyTimeout,
// whichever ends first.
func (s *Session) Ensure(ctx context.Context, spec BridgeSpec) error {
	if err := spec.validate(); err != nil {
		return s.named(fmt.Errorf("bridge %s: %w", s.o.Bridge, err))
	}
	select {
	case <-s.ensuring:
		defer func() { s.ensuring <- struct{}{} }()
	case <-ctx.Done():
		return s.named(ctx.Err())
	case <-s.done:
		return s.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.ApplyTimeout)
	defer cancel()
	if err := s.ensure(ctx, spec); err != nil {
		return s.named(err)
	}
	return nil
}

func (s *Session) ensure(ctx context.Context, spec BridgeSpec) error {
	p, err := s.await(ctx, func(p *picture) error {
		if spec.DatapathType == "" && len(p.root.DatapathTypes) == 0 {
			return errors.New("it has no datapath types; is ovs-vswitchd running?")
		}
		return nil
	})
	if err != nil {
		return err
	}
	want, cfg := firstWish(p, spec), 0
	for range maxAttempts {
		p := s.picture.Load()
		ops, err := makePlan(p, spec, s.o.Bridge, want)
		if err != nil {
			return err
		}
		// What the database shows may be older than the ovs-vswitchd that runs now, or
		// ovs-vswitchd has not written it since ovsdb-server was started. A transaction
		// that only asks to be applied tells.
		if len(ops) > 0 || cfg == 0 && applied(p, spec, 0) != nil {
			if cfg, err = s.transact(ctx, p, ops); err != nil {
				return err
			}
			continue // the picture has the transaction in it, and should need no more
		}
		p, err = s.await(ctx, func(p *picture) error { return applied(p, spec, cfg) })
		if err == nil {
			return nil
		}
		// The system datapath is on offer wherever the switch was built for it;
		// that the kernel has it shows only when a bridge is opened.
		if spec.DatapathType == "" && !want.fallback && s.systemFailed(p, cfg) {
			want = datapathWish{datapathType: typeNetdev, fallback: true}
			continue
		}
		return err
	}
	return fmt.Errorf("bridge %s: somebody else changes it as fast as it is put right; is there another controller?", s.o.Bridge)
}

// systemFailed says whether ovs-vswitchd has applied configuration cfg and could not open
// the bridge, which was made in this session, on the system datapath. A bridge that was
// there before is never given another type: that it has no datapath id says nothing.
func (s *Session) systemFailed(p *picture, cfg int) bool {
	return p.bridge != nil && p.bridge.UUID == s.made && cfg > 0 && p.root.CurCfg >= cfg &&
		orSystem(p.bridge.DatapathType) == typeSystem && datapathID(p.bridge) == 0 &&
		slices.Contains(p.root.DatapathTypes, typeNetdev)
}

// errFinal wraps what waiting will not mend.
type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// await returns when ok returns nil, or with ok's last error when it is final or
// the time is up; in any case with the picture it last looked at.
func (s *Session) await(ctx context.Context, ok func(*picture) error) (*picture, error) {
	for {
		p := s.picture.Load()
		err := ok(p)
		var final errFinal
		if err == nil || errors.As(err, &final) {
			return p, err
		}
		select {
		case <-p.superseded:
		case <-s.ctx.Done():
			return p, context.Cause(s.ctx)
		case <-ctx.Done():
			return p, fmt.Errorf("%w (%w)", err, ctx.Err())
		}
	}
}

// applied says whether the switch runs what the database says. cfg is the
// configuration's number that it has to have reached.
func applied(p *picture, spec BridgeSpec, cfg int) error {
	if p.bridge == nil {
		return errors.New("the bridge was removed again by somebody else")
	}
	b := p.facts.Bridge
	if p.root.CurCfg < cfg {
		return fmt.Errorf("ovs-vswitchd has not applied the configuration (cur_cfg %d, next_cfg %d); is it running?", p.root.CurCfg, p.root.NextCfg)
	}
	var wrong []string
	switch {
	case b.DatapathID == 0:
		wrong = append(wrong, fmt.Sprintf("bridge %s does not run: datapath type %q cannot be opened%s", b.Name, b.DatapathType, remedy(b)))
	case b.DatapathID != spec.DatapathID:
		// A bridge that could not be opened again keeps the id it ran with.
		wrong = append(wrong, fmt.Sprintf("bridge %s has not taken datapath id %016x but has %016x (datapath type %q)",
			b.Name, spec.DatapathID, b.DatapathID, b.DatapathType))
	}
	tunnels := map[string]bool{}
	for _, t := range spec.Tunnels {
		tunnels[t.Name] = true
	}
	for _, i := range p.facts.Interfaces {
		switch {
		case !tunnels[i.Name] && i.Name != b.Name:
		case i.Error != "":
			wrong = append(wrong, fmt.Sprintf("interface %s: %s", i.Name, i.Error))
		case i.OFPort == 0:
			wrong = append(wrong, fmt.Sprintf("interface %s has no OpenFlow port number", i.Name))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	err := errors.New(strings.Join(wrong, "; "))
	if cfg > 0 {
		return errFinal{err}
	}
	return err
}

// remedy is what to do about a datapath that cannot be opened.
func remedy(b BridgeFacts) string {
	if b.DatapathType != typeSystem {
		return ""
	}
	return fmt.Sprintf("; load the kernel module: modprobe openvswitch; or, where there is none, use the userspace datapath: ovs-vsctl set bridge %s datapath_type=netdev", b.Name)
}

// transact writes ops and gives the number that cur_cfg has when the switch has
// applied them.
func (s *Session) transact(ctx context.Context, p *picture, ops []ovsdb.Operation) (cfg int, err error) {
	comment := "ofctl-lab: bridge " + s.o.Bridge
	ops = append(ops,
		ovsdb.Operation{
			Op: ovsdb.OperationMutate, Table: tableOpenVSwitch, Where: byUUID(p.root.UUID),
			Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1)},
		},
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: tableOpenVSwitch, Where: byUUID(p.root.UUID), Columns: []string{"next_cfg"}},
		ovsdb.Operation{Op: ovsdb.OperationComment, Comment: &comment},
	)
	results, err := s.commit(ctx, ops)
	if err != nil {
		return 0, err
	}
	for i, op := range ops {
		if op.UUIDName == newBridge && i < len(results) {
			s.made = results[i].UUID.GoUUID
		}
	}
	if len(results) == len(ops) && len(results[len(ops)-2].Rows) == 1 {
		if number, ok := results[len(ops)-2].Rows[0]["next_cfg"].(float64); ok {
			return int(number), nil
		}
	}
	return 0, errors.New("its database did not say which configuration the transaction made")
}

// commit writes ops as one transaction.
func (s *Session) commit(ctx context.Context, ops []ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	results, err := s.db.Transact(ctx, ops...)
	if err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("the transaction got no answer: %w", err)
	}
	// One result for each operation, and one more when the commit itself failed.
	for i, r := range results {
		if r.Error == "" {
			continue
		}
		what := "at the commit"
		if i < len(ops) {
			what = strings.TrimSpace("at " + ops[i].Op + " " + ops[i].Table)
		}
		return nil, fmt.Errorf("its database refused the transaction %s: %s: %s", what, r.Error, r.Details)
	}
	return results, nil
}
