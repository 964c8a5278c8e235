package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// plugPort is what the controller computes when a port appears on one of two hosts, which
// have the network's other ports, that many in all, between them: the new state of the
// switch, and how it differs from the one before.
func plugPort(ports int) (func(n int) error, error) {
	tx := topo.Empty().Begin()
	for i := 1; i <= 2; i++ {
		tx.ObserveHost(hostName(i), netip.AddrFrom4([4]byte{192, 168, 200, byte(i)}),
			[4]uint32{topo.GRE: 101, topo.VXLAN: 102, topo.Geneve: 103})
	}
	tx.PutTenant(topo.Tenant{Name: "t"})
	tx.PutNetwork(topo.Network{
		Tenant: "t", Name: "n", Encap: topo.GRE, Key: 1000001, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
	})
	for i := range ports + 1 {
		tx.PutPort(topo.Port{
			Name:      portName(i),
			MAC:       topo.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)},
			Network:   "t/n",
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i%250 + 1)})},
		})
		if i > 0 {
			bind(tx, i, 1+i%2)
		}
	}
	before, _, err := tx.Commit()
	if err != nil {
		return nil, err
	}
	tx = before.Begin()
	bind(tx, 0, 1)
	after, _, err := tx.Commit()
	if err != nil {
		return nil, err
	}
	have, err := pipeline.Compile(before, hostName(1))
	if err != nil {
		return nil, err
	}
	return func(n int) error {
		for range n {
			want, err := pipeline.Recompile(have, before, after, hostName(1))
			if err != nil {
				return err
			}
			if d := flows.Diff(have, want); len(d.AddFlows) == 0 || len(d.DelFlows) > 0 {
				return errors.New("a port that appeared did not add flows only")
			}
		}
		return nil
	}, nil
}

func hostName(i int) string { return fmt.Sprintf("host%d", i) }
func portName(i int) string { return fmt.Sprintf("p%d", i) }

func bind(tx *topo.Txn, port, host int) {
	tx.Bind(portName(port), topo.Binding{
		Host: hostName(host), OFPort: uint32(1000 + port), Interface: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, port)),
	})
}
