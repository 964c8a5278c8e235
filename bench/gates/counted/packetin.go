package main

import (
	"bytes"
	"context"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// packetsAtOnce are in flight together.
const packetsAtOnce = 32

// frameLen is that of each packet, a TCP segment without data in an Ethernet frame.
const frameLen = 60

// answerPacketIns is a session that answers packet-ins with packet-outs: it reads
// and decodes, hands over to the callback, encodes and writes.
func answerPacketIns(ctx context.Context) (func(n int) error, error) {
	var batch []byte
	for i := range packetsAtOnce {
		var err error
		batch, err = ofp13.AppendPacketIn(batch, 0, ofp13.PacketIn{
			Reason:   1,
			TotalLen: frameLen,
			Match:    flows.Match{}.With(flows.InPort, flows.U(uint64(i)+1)),
			Data:     bytes.Repeat([]byte{byte(i)}, frameLen),
		})
		if err != nil {
			return nil, err
		}
	}

	w := newWire()
	answered, out := make(chan struct{}, 1), 0
	w.packetOut = func() {
		if out++; out%packetsAtOnce == 0 {
			answered <- struct{}{}
		}
	}
	var conn *openflow.Conn
	failed := make(chan error, 1)
	conn, err := openflow.Connect(ctx, w, openflow.Options{OnPacketIn: func(in openflow.PacketIn) {
		err := conn.PacketOut(ctx, openflow.PacketOut{
			InPort: in.InPort(), Actions: []flows.Action{flows.Output{Port: 2}}, Data: in.Data,
		})
		if err != nil {
			select {
			case failed <- err:
			default: // the first is enough
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	return func(n int) error {
		for range n {
			w.say(batch)
			select {
			case <-answered:
			case err := <-failed:
				return err
			}
		}
		return nil
	}, nil
}
