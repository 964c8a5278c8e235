package e2e

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/churn"
)

// apply makes one change: over the controller's interface, or in hosts' databases.
func (l *churnLab) apply(ctx context.Context, op churn.Op) error {
	var err error
	switch op := op.(type) {
	case churn.PutTenant:
		_, err = l.api.PutTenant(ctx, op.Name)
	case churn.DeleteTenant:
		_, err = l.api.DeleteTenant(ctx, op.Name)
	case churn.PutNetwork:
		err = l.putNetwork(ctx, networkSpecOf(op.Network))
	case churn.DeleteNetwork:
		_, err = l.api.DeleteNetwork(ctx, op.Name)
	case churn.PutPort:
		_, err = l.api.PutPort(ctx, portSpecOf(op.Port))
	case churn.DeletePort:
		_, err = l.api.DeletePort(ctx, op.Name)
	case churn.Plug:
		changes := make([]map[string]string, len(l.hosts))
		for i, s := range op.Slots {
			if changes[s.Host] == nil {
				changes[s.Host] = map[string]string{}
			}
			changes[s.Host][l.devices[s]] = op.IfaceIDs[i]
		}
		for h, ids := range changes {
			if len(ids) > 0 {
				err = errors.Join(err, l.hosts[h].db.setIfaceIDs(ids))
			}
		}
	}
	return err
}

// putNetwork declares a network, again and again until its key is free: so the key is used
// again as soon as the controller lets it be.
func (l *churnLab) putNetwork(ctx context.Context, n api.NetworkSpec) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	defer func() { l.waited += time.Since(begun) }()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		_, err := l.api.PutNetwork(ctx, n)
		var p *api.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Error(), "was given up by") {
			return err
		}
		l.refused++
		<-again.C
	}
}

func networkSpecOf(n topo.Network) api.NetworkSpec {
	return api.NetworkSpec{Tenant: n.Tenant, Name: n.Name, Type: n.Type.String(), Encap: n.Encap.String(), Key: n.Key, Subnets: n.Subnets, Answer: n.Answer.String()}
}

func portSpecOf(p topo.Port) api.PortSpec {
	out := api.PortSpec{Name: p.Name, MAC: p.MAC.String(), Profile: p.Profile.String(), MACs: p.MACs, Network: p.Network, Addresses: p.Addresses}
	if p.Trunk == nil {
		return out
	}
	out.Trunk = &api.Trunk{}
	if n := p.Trunk.Native; n != nil {
		out.Trunk.Native = &api.SubPort{Network: n.Network, Addresses: n.Addresses}
	}
	for _, v := range p.Trunk.VLANs {
		out.Trunk.VLANs = append(out.Trunk.VLANs, api.SubPort{VLAN: v.VLAN, Network: v.Network, Addresses: v.Addresses})
	}
	return out
}
