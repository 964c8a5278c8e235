package pipeline

import (
	"fmt"
	"strconv"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// registerNames are the registers of the map in fields.go, as people read them.
var registerNames = map[flows.Field]string{regNetwork: "network", regOrigin: "origin", regEgress: "egress"}

// FormatOptions writes flows and groups of this pipeline for people: tables by
// name, registers by what they hold (network=red/web, origin=tunnel,
// set_field:red-a->egress), groups by their network, tunnel keys in decimal. The
// result is no longer what ovs-ofctl takes.
//
// network is the full name of the network with an ID, port that of the port with
// an OpenFlow number; "" where there is none, and then the number is written.
func FormatOptions(network func(topo.ID) string, port func(uint32) string) flows.FormatOptions {
	name := func(id topo.ID) string {
		if n := network(id); n != "" {
			return n
		}
		return strconv.FormatUint(uint64(id), 10)
	}
	return flows.FormatOptions{
		TableName: TableName,
		PortName:  port,
		FieldName: func(f flows.Field) string { return registerNames[f] },
		GroupName: func(id uint32) string {
			n, ok := NetworkOfGroup(id)
			if !ok {
				return ""
			}
			if part := id &^ GroupBase >> 24; part != 0 {
				return fmt.Sprintf("%s#%d", name(n), part)
			}
			return name(n)
		},
		ValueName: func(f flows.Field, v flows.Value) string {
			switch {
			case f == regNetwork:
				return name(topo.ID(v.Lo))
			case f == regOrigin && v.Lo == originLocal:
				return "local"
			case f == regOrigin && v.Lo == originTunnel:
				return "tunnel"
			case f == regOrigin && v.Lo == originSwitch:
				return "switch"
			case f == regEgress && v.Lo == egressTunnel:
				return "tunnel"
			case f == regEgress && port(uint32(v.Lo)) != "":
				return port(uint32(v.Lo))
			case f == regEgress, f == flows.TunID:
				return strconv.FormatUint(v.Lo, 10)
			}
			return ""
		},
	}
}
