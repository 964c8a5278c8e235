package main

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/bench/workload"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// flowsAtOnce is how many flows one time of the work is about.
const flowsAtOnce = 1000

func additions() []flows.Op {
	ops := make([]flows.Op, 0, flowsAtOnce)
	for _, f := range workload.Flows(flowsAtOnce).Flows() {
		ops = append(ops, flows.Op{Kind: flows.AddFlow, Flow: f})
	}
	return ops
}

// encodeFlows is the encoder alone.
func encodeFlows(context.Context) (func(n int) error, error) {
	ops, buf := additions(), make([]byte, 0, 1024)
	return func(n int) error {
		for range n {
			for i := range ops {
				var err error
				if buf, err = ofp13.AppendOp(buf[:0], uint32(i)+1, ops[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

// plain and bundle are the two kinds of step.
func plain(ops []flows.Op) flows.Step  { return flows.Step{Ops: ops} }
func bundle(ops []flows.Op) flows.Step { return flows.Step{Ops: ops, Atomic: true} }

// commitFlows is openflow.Conn.Commit, to a switch that reads and does nothing.
func commitFlows(ctx context.Context, step func([]flows.Op) flows.Step) (func(n int) error, error) {
	conn, err := openflow.Connect(ctx, newWire(), openflow.Options{})
	if err != nil {
		return nil, err
	}
	steps := []flows.Step{step(additions())}
	return func(n int) error {
		for range n {
			if err := conn.Commit(ctx, steps); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
