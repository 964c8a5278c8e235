package suite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

const (
	// kernelDatapath is the datapath type on which guests may leave checksums and segmentation to their
	// devices; the userspace datapath completes neither.
	kernelDatapath = "system"
	offloadsOn     = ", offloads on"
)

// benchOffloads is bench, on the kernel datapath with each design twice: with offloads off, as the
// userspace datapath needs them, and on. Both use the same hosts and guests, in turn.
func (s *designs) benchOffloads(details []string, run func(context.Context, *design) (harness.Sample, error)) *harness.Bench {
	if s.datapath != kernelDatapath {
		return s.bench(run)
	}
	with := func(on bool) *harness.Bench {
		return s.bench(func(ctx context.Context, d *design) (harness.Sample, error) {
			if err := d.setOffloads(ctx, on); err != nil {
				return harness.Sample{}, err
			}
			return run(ctx, d)
		})
	}
	b := with(false)
	for _, p := range with(true).Peers {
		p.Name += offloadsOn
		b.Peers = append(b.Peers, p)
	}
	b.Comparisons = offloadComparisons(details...)
	return b
}

// offloadComparisons set the designs with offloads beside each other as throughputComparisons does those without,
// but for OVN's, and each of them beside itself without.
func offloadComparisons(details ...string) []harness.Comparison {
	var all []harness.Comparison
	add := func(c harness.Comparison) {
		all = append(all, c)
		for _, d := range details {
			c.Detail, c.Better = d, harness.Lower
			all = append(all, c)
		}
	}
	for _, peer := range ourDesigns() {
		add(harness.Comparison{Peer: peer + offloadsOn, Against: peerVLAN + offloadsOn})
		all = append(all, harness.Comparison{Peer: peer + offloadsOn, Against: peerTunnel + offloadsOn})
	}
	all = append(all,
		harness.Comparison{Peer: peerOneHost + offloadsOn, Against: peerNormal + offloadsOn},
		harness.Comparison{Peer: peerOneHost + offloadsOn, Against: peerLimit + offloadsOn})
	for _, peer := range append(ourDesigns(), peerOneHost, peerVLAN, peerTunnel, peerLimit) {
		all = append(all, harness.Comparison{Peer: peer + offloadsOn, Against: peer})
	}
	return all
}

// setOffloads turns the offloads of every veth of the design on or off: the guests' own ends, the
// switches' ends, and the underlay.
func (d *design) setOffloads(ctx context.Context, on bool) error {
	places := map[string]*netdev.Namespace{}
	for i, guest := range d.guests {
		places[d.ports[i].Name()] = guest
	}
	var opened []*netdev.Namespace
	closeAll := func() (err error) {
		for _, ns := range opened {
			err = errors.Join(err, ns.Close())
		}
		return err
	}
	for _, host := range []string{overlay.Host1, overlay.Host2} {
		ns, _, err := d.lab.Host(host)
		if err != nil {
			return errors.Join(err, closeAll())
		}
		opened, places[host] = append(opened, ns), ns
	}
	net, _, err := d.lab.Control(ctx)
	if err != nil {
		return errors.Join(err, closeAll())
	}
	opened, places["the underlay"] = append(opened, net), net
	for where, ns := range places {
		if err := setVethOffloads(ns, on); err != nil {
			return errors.Join(fmt.Errorf("%s: %s: %w", d.name, where, err), closeAll())
		}
	}
	return closeAll()
}

func setVethOffloads(ns *netdev.Namespace, on bool) error {
	links, err := ns.Links()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Kind != "veth" {
			continue
		}
		if err := ns.SetOffloads(l.Name, on); err != nil {
			return err
		}
	}
	return nil
}
