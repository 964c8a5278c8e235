package ovsdb

import (
	"maps"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The datapath types of a bridge.
const (
	typeSystem = "system" // the kernel's
	typeNetdev = "netdev" // in user space
)

// The external_ids of the integration bridge that say which datapath type was intended,
// and why the bridge was given another one. They outlive the controller.
const (
	ExternalIDDatapath = "ofctl-lab-datapath"
	ExternalIDFallback = "ofctl-lab-datapath-fallback"
)

// couldNotOpen is the reason for a fall-back.
const couldNotOpen = "ovs-vswitchd could not open the system datapath when the bridge was made"

// datapathWish is the datapath type that a bridge is to be given.
type datapathWish struct {
	datapathType string // "" leaves what the bridge has
	// fallback says that the type is netdev only because system could not be opened.
	fallback bool
}

// firstWish is the wish before anything was tried.
func firstWish(p *picture, spec BridgeSpec) datapathWish {
	switch {
	case spec.DatapathType != "" || p.bridge != nil:
		return datapathWish{datapathType: spec.DatapathType}
	case slices.Contains(p.root.DatapathTypes, typeSystem):
		return datapathWish{datapathType: typeSystem}
	default:
		return datapathWish{datapathType: typeNetdev}
	}
}

// orSystem is the datapath type that an empty one stands for.
func orSystem(datapathType string) string {
	if datapathType == "" {
		return typeSystem
	}
	return datapathType
}

// datapathID is the id a bridge runs with, 0 if it does not or that is not known yet.
func datapathID(row *bridgeRow) uint64 {
	id, err := strconv.ParseUint(value(row.DatapathID), 16, 64)
	if err != nil {
		return 0
	}
	return id
}

// systemRuns says whether another bridge of the host has an open system datapath, so that
// its kernel has one. That datapath_types lists system only says that Open vSwitch was
// built for it.
func (p *picture) systemRuns() bool {
	for id, b := range p.bridges {
		if (p.bridge == nil || id != p.bridge.UUID) && orSystem(b.DatapathType) == typeSystem && datapathID(b) != 0 {
			return true
		}
	}
	return false
}

// datapath puts the bridge's datapath type into row, and what the bridge has to say of it,
// where that is not right.
func (pl *plan) datapath(row ovsdb.Row) {
	have := pl.picture.bridge
	inUse := orSystem(have.DatapathType)
	if pl.want.datapathType != "" && pl.want.datapathType != inUse {
		inUse = pl.want.datapathType
		row["datapath_type"] = inUse
	}
	ids := maps.Clone(have.ExternalIDs)
	if ids == nil {
		ids = map[string]string{}
	}
	switch {
	case pl.spec.DatapathType != "":
		ids[ExternalIDDatapath] = pl.spec.DatapathType
	case pl.want.fallback:
		ids[ExternalIDDatapath], ids[ExternalIDFallback] = typeSystem, couldNotOpen
	case ids[ExternalIDDatapath] == "" && (inUse == typeSystem || !slices.Contains(pl.root.DatapathTypes, typeSystem)):
		ids[ExternalIDDatapath] = inUse
		// Of a bridge of type netdev that was made before bridges said so, nobody knows
		// whether system was meant: it stays without.
	}
	if inUse == typeSystem || pl.spec.DatapathType != "" {
		delete(ids, ExternalIDFallback)
	}
	if !maps.Equal(ids, have.ExternalIDs) {
		row["external_ids"] = stringMap(ids)
	}
}
