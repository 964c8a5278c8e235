package openflow_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// rawFlows writes messages to the bridge as fast as it takes them, and a barrier.
func rawFlows(tb testing.TB, o *ovs, messages []byte) {
	nc, err := net.Dial("unix", o.mgmt())
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	hello, _ := ofp13.AppendHello(nil, 1)
	barrier, _ := ofp13.AppendBarrierRequest(nil, 0xfffffff0)
	go nc.Write(slices.Concat(hello, messages, barrier))
	for {
		var head [8]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			tb.Fatal(err)
		}
		h, err := ofp13.ParseHeader(head[:])
		if err != nil {
			tb.Fatal(err)
		}
		if h.Type == ofp13.TypeBarrierReply {
			return
		}
		if h.Type == ofp13.TypeError {
			tb.Fatal("the switch refused a message")
		}
		if _, err := io.CopyN(io.Discard, nc, int64(h.Length)-8); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkProgram puts 50,000 flows into an empty bridge in four ways, one after
// the other in every round, and reports the medians of the rounds as flows per
// second and the plain Commit as a ratio of raw pre-encoded bytes.
func BenchmarkProgram(b *testing.B) {
	const n = 50000
	o := startOVS(b)
	fs, g := overlay(n)
	ops := adds(fs)
	group := []flows.Op{{Kind: flows.AddGroup, Group: g}}
	var raw []byte
	var text bytes.Buffer
	for i, op := range append(group, ops...) {
		var err error
		if raw, err = ofp13.AppendOp(raw, uint32(i+2), op); err != nil {
			b.Fatal(err)
		}
		if op.Flow != nil {
			fmt.Fprintln(&text, op.Flow)
		}
	}
	file := filepath.Join(b.TempDir(), "flows")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	commit := func(atomic bool) func() {
		return func() {
			c := o.connect(b, openflow.Options{EchoTimeout: time.Minute})
			if err := c.Commit(b.Context(), []flows.Step{{Ops: group}, {Atomic: atomic, Ops: ops}}); err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	}
	ways := []struct {
		name string
		run  func()
	}{
		{"raw", func() { rawFlows(b, o, raw) }},
		{"plain", commit(false)},
		{"bundle", commit(true)},
		{"ovs-ofctl-bundle", func() {
			o.ofctl(b, "add-group", "group_id=0x40000001,type=all")
			cmd := exec.Command("ovs-ofctl", "-OOpenFlow13", "--bundle", "add-flows", "unix:"+o.mgmt(), file)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}},
	}
	took := make([][]float64, len(ways))
	for b.Loop() {
		for i, w := range ways {
			o.ofctl(b, "del-flows")
			o.ofctl(b, "del-groups")
			start := time.Now()
			w.run()
			took[i] = append(took[i], time.Since(start).Seconds())
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return took[i][len(took[i])/2]
	}
	for i, w := range ways {
		b.ReportMetric(n/median(i), w.name+"-flows/s")
	}
	b.ReportMetric(median(0)/median(1), "plain/raw")
	b.ReportMetric(median(0)/median(2), "bundle/raw")
	b.ReportMetric(median(3)/median(2), "bundle/ofctl")
}

func BenchmarkDump(b *testing.B) {
	o := startOVS(b)
	c := o.connect(b, openflow.Options{})
	fs, g := overlay(50000)
	if err := c.Commit(b.Context(), []flows.Step{{Ops: append([]flows.Op{{Kind: flows.AddGroup, Group: g}}, adds(fs)...)}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if d, err := c.Dump(b.Context()); err != nil || len(d.Flows) != len(fs) {
			b.Fatal(len(d.Flows), err)
		}
	}
}
