package main

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/ofnet/ofctrl"
)

// The shape of a flow; package bench/workload of the main module sends the same
// one (this module cannot import it: see README.md).
const (
	flowTable       = 30
	flowPriority    = 100
	flowsPerNetwork = 100
	firstKey        = 1000001
	maxFlows        = 1<<24 - 1 // one address of 10.0.0.0/8 each
)

// emptyTable is one that nobody puts flows into: the bridge counts those in no time.
const emptyTable = flowTable + 1

// program sends n flows, a barrier and an aggregate statistics request for
// emptyTable, whose reply stands for that to the barrier, which ofctrl keeps to itself. It blocks for as long as the bridge does not read, and for ever
// when the connection has gone: call it in a goroutine.
func program(sw *ofctrl.OFSwitch, n int) error {
	table, err := sw.NewTable(flowTable)
	if err != nil {
		return fmt.Errorf("table %d: %w", flowTable, err)
	}
	out, err := sw.OutputPort(1)
	if err != nil {
		return fmt.Errorf("output port 1: %w", err)
	}
	for i := range n {
		if err := addFlow(table, i, out); err != nil {
			return fmt.Errorf("flow %d of %d: %w", i, n, err)
		}
	}

	barrier := openflow13.NewOfp13Header()
	barrier.Type = openflow13.Type_BarrierRequest
	sw.Send(&barrier)
	askCount(sw, emptyTable)
	return nil
}

// askCount asks how many flows are in a table. It blocks as program does.
func askCount(sw *ofctrl.OFSwitch, table uint8) {
	stats := openflow13.NewAggregateStatsRequest()
	stats.TableId = table
	stats.OutPort = openflow13.P_ANY
	stats.OutGroup = openflow13.OFPG_ANY
	req := &openflow13.MultipartRequest{Header: openflow13.NewOfp13Header(), Type: openflow13.MultipartType_Aggregate, Body: stats}
	req.Header.Type = openflow13.Type_MultiPartRequest
	sw.Send(req)
}

// addFlow sends flow i: in network i/flowsPerNetwork, TCP to guest i has its
// Ethernet addresses rewritten and goes out with the network's tunnel key.
func addFlow(table *ofctrl.Table, i int, out *ofctrl.Output) error {
	network := uint64(i / flowsPerNetwork)
	metadata := network + 1
	guest, ip := mac(0x02, i), ipv4(i)
	flow, err := table.NewFlow(ofctrl.FlowMatch{
		Priority:  flowPriority,
		Metadata:  &metadata,
		MacDa:     &guest,
		Ethertype: 0x0800,
		IpProto:   ofctrl.IP_PROTO_TCP,
		IpDa:      &ip,
	})
	if err != nil {
		return err
	}
	// ofctrl puts each action before those it has, so this is last to first.
	// None of these sends anything yet; Next does.
	if err := flow.SetTunnelId(firstKey + network); err != nil {
		return err
	}
	if err := flow.SetMacDa(mac(0x06, i)); err != nil {
		return err
	}
	if err := flow.SetMacSa(mac(0x0a, 0)); err != nil {
		return err
	}
	return flow.Next(out)
}

// mac is a locally administered address with first byte b and number i.
func mac(b byte, i int) net.HardwareAddr {
	m := make(net.HardwareAddr, 6)
	m[0] = b
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	return m
}

// ipv4 is address i of 10.0.0.0/8.
func ipv4(i int) net.IP {
	a := make(net.IP, 4)
	binary.BigEndian.PutUint32(a, 10<<24|uint32(i))
	return a
}
