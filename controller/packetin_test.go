package controller

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// wanted is a feature that somebody handles in these tests.
const wanted = pipeline.FeatClassify

func sentBy(feature pipeline.Feature, port uint32, frame []byte) openflow.PacketIn {
	return openflow.PacketIn{Cookie: flows.NewCookie(uint8(feature), pipeline.Generation, 7),
		Match: flows.Match{}.With(flows.InPort, flows.U(uint64(port))), Data: frame}
}

// A packet-in reaches the handler of the feature that sent it, as a copy and cut short.
func TestPacketInsReachTheirHandler(t *testing.T) {
	c := newMetrics(nil).packetIns
	got := make(chan packetIn)
	q := newPacketIns(packetInHandlers{wanted: func(_ context.Context, h *host, in packetIn) { got <- in }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); q.serve(ctx, newHost("host1"), c) }()
	frame := make([]byte, 2*packetInKept)
	p := sentBy(wanted, 3, frame)
	q.put(p)
	frame[0] = 0xff // the session uses its memory again
	p.Match[0].Value = flows.U(4)
	in := <-got
	if in.inPort != 3 || in.cookie.Owner() != 7 || len(in.frame) != packetInKept || in.frame[0] != 0 {
		t.Errorf("handler got %+v", in)
	}
	if m, ok := in.match.Get(flows.InPort); !ok || m.Value != flows.U(3) {
		t.Errorf("handler got the match %s", in.match)
	}
	cancel()
	<-ended
	if n := testutil.ToFloat64(c.WithLabelValues("host1", wanted.String())); n != 1 {
		t.Errorf("%v packet-ins counted, want 1", n)
	}
}

// What nobody handles, what is not ours and what is too much is dropped, without waiting
// for anybody, and counted.
func TestPacketInsAreBounded(t *testing.T) {
	c := newMetrics(nil).packetIns
	handled := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := newPacketIns(packetInHandlers{wanted: func(context.Context, *host, packetIn) {
		if handled++; handled == packetInRoom {
			cancel()
		}
	}})
	foreign := sentBy(wanted, 1, nil)
	foreign.Cookie = 7
	q.put(foreign)
	q.put(sentBy(pipeline.FeatOutput, 1, nil))
	const flood = 10 * packetInRoom
	for range flood {
		q.put(sentBy(wanted, 1, make([]byte, 60))) // nobody serves yet: it may not block
	}
	q.serve(ctx, newHost("host1"), c)
	if n, want := testutil.ToFloat64(c.WithLabelValues("host1", "dropped")), float64(flood-packetInRoom+2); n != want {
		t.Errorf("%v packet-ins counted as dropped, want %v", n, want)
	}
}
