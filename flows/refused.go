package flows

import (
	"fmt"
	"strings"
)

// RefusedError names an action or a field of Open vSwitch 3.1 that is known and not
// interpreted, so that nobody takes what a flow does with it for something else.
type RefusedError struct{ Name, Why string }

// Error is "NAME is not interpreted: WHY".
func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not interpreted: %s", e.Name, e.Why) }

const (
	whyHash    = "what it chooses depends on a hash of the switch's own"
	whyL3      = "packets without an Ethernet header are not followed"
	whyVLAN    = "it depends on the tag that the packet has; OpenFlow 1.3 has push_vlan and set_field"
	whyTunnel  = "of a tunnel only its key and its addresses are followed"
	whyTuple   = "the addresses with which a connection began are not followed"
	whyOption  = "tunnel options are not followed, and what they are is said by a table of the switch's own"
	whyDebug   = "it is for testing Open vSwitch, which cannot name it either"
	whyMissing = "Open vSwitch 3.1 does not have it"
)

// refusedActions are, by their names in ovs-ofctl, what ovs-actions(7) has of actions
// and this package has not.
var refusedActions = map[string]string{
	"bundle":        whyHash,
	"bundle_load":   whyHash,
	"multipath":     whyHash,
	"learn":         "it adds flows while packets pass, which nobody compiled",
	"conjunction":   "the flow is one part of a match that is made of several",
	"sample":        "it sends copies to collectors that are not set up by flows",
	"encap":         whyL3,
	"decap":         whyL3,
	"dec_nsh_ttl":   whyL3,
	"delete_field":  whyOption,
	"ct(alg)":       "a helper reads the payload, and may change it",
	"resubmit(ct)":  whyTuple,
	"mod_vlan_vid":  whyVLAN,
	"mod_vlan_pcp":  whyVLAN,
	"mod_tp_src":    "it depends on the protocol; OpenFlow 1.3 has set_field",
	"mod_tp_dst":    "it depends on the protocol; OpenFlow 1.3 has set_field",
	"debug_recirc":  whyDebug,
	"debug_slow":    whyDebug,
	"push_pbb":      whyMissing,
	"pop_pbb":       whyMissing,
	"copy_ttl_out":  whyMissing,
	"copy_ttl_in":   whyMissing,
	"controller(…)": "one of its properties is not known",
}

// RefusedAction is the error that names an action which is not interpreted, nil if
// there is no such action.
func RefusedAction(name string) error {
	if why, ok := refusedActions[name]; ok {
		return &RefusedError{name, why}
	}
	return nil
}

// refused is what is wrong with a word that names a refused action or field.
func (w word) refused(name string) error { return w.errorf("%v", RefusedAction(name)) }

// Experimenter IDs of OXM class 0xffff (ovs-fields(7)).
const (
	experimenterNicira uint32 = 0x00002320
	experimenterNSH    uint32 = 0x005ad650
)

// classPacketRegs is the OXM class of the extended registers of OpenFlow 1.5.
const classPacketRegs uint16 = 0x8001

// refusedField is a field of ovs-fields(7) that this package does not have. There are
// count of them, numbered in order.
type refusedField struct {
	name         string
	class        uint16
	number       uint8
	experimenter uint32
	count        uint8
	why          string
}

const (
	why16   = "it is the 16-bit field of OpenFlow 1.0; OXM_OF_IN_PORT has the number that OpenFlow 1.3 has"
	whyRegs = "it is several registers under one name; name them one by one"
	whyNSH  = "network service headers are not followed"
)

var refusedFields = [...]refusedField{
	{"conj_id", classNXM1, 37, 0, 1, "it is one match that is made of several flows"},
	{"tun_gbp_id", classNXM1, 38, 0, 1, whyTunnel},
	{"tun_gbp_flags", classNXM1, 39, 0, 1, whyTunnel},
	{"tun_flags", classNXM1, 104, 0, 1, whyTunnel},
	{"tun_erspan_idx", classExperimenter, 11, experimenterNicira, 1, whyTunnel},
	{"tun_erspan_ver", classExperimenter, 12, experimenterNicira, 1, whyTunnel},
	{"tun_erspan_dir", classExperimenter, 13, experimenterNicira, 1, whyTunnel},
	{"tun_erspan_hwid", classExperimenter, 14, experimenterNicira, 1, whyTunnel},
	{"tun_gtpu_flags", classExperimenter, 15, experimenterNicira, 1, whyTunnel},
	{"tun_gtpu_msgtype", classExperimenter, 16, experimenterNicira, 1, whyTunnel},
	{"tun_metadata", classNXM1, 40, 0, 64, whyOption},
	{"NXM_OF_IN_PORT", classNXM0, 0, 0, 1, why16},
	{"NXM_OF_IP_TOS", classNXM0, 5, 0, 1, "it is ip_dscp shifted by two bits; name that"},
	{"recirc_id", classNXM1, 36, 0, 1, "it is the switch's own"},
	{"dp_hash", classNXM1, 35, 0, 1, whyHash},
	{"actset_output", classExperimenter, 43, onfExperimenter, 1, "it is what the action set holds, of OpenFlow 1.5"},
	{"packet_type", classOpenFlow, 44, 0, 1, whyL3},
	{"ct_nw_proto", classNXM1, 119, 0, 1, whyTuple},
	{"ct_nw_src", classNXM1, 120, 0, 1, whyTuple},
	{"ct_nw_dst", classNXM1, 121, 0, 1, whyTuple},
	{"ct_ipv6_src", classNXM1, 122, 0, 1, whyTuple},
	{"ct_ipv6_dst", classNXM1, 123, 0, 1, whyTuple},
	{"ct_tp_src", classNXM1, 124, 0, 1, whyTuple},
	{"ct_tp_dst", classNXM1, 125, 0, 1, whyTuple},
	{"xreg", classPacketRegs, 0, 0, 8, whyRegs},
	{"xxreg", classNXM1, 111, 0, 4, whyRegs},
	{"nsh_flags", classExperimenter, 1, experimenterNSH, 1, whyNSH},
	{"nsh_mdtype", classExperimenter, 2, experimenterNSH, 1, whyNSH},
	{"nsh_np", classExperimenter, 3, experimenterNSH, 1, whyNSH},
	{"nsh_spi", classExperimenter, 4, experimenterNSH, 1, whyNSH},
	{"nsh_si", classExperimenter, 5, experimenterNSH, 1, whyNSH},
	{"nsh_c", classExperimenter, 6, experimenterNSH, 4, whyNSH},
	{"nsh_ttl", classExperimenter, 10, experimenterNSH, 1, whyNSH},
	{"skb_priority", 0xfffe, 0, 0, 1, "it is the switch's own"}, // no OXM names it
}

// at is the error that names number n of a row.
func (r *refusedField) at(n uint8) error {
	name := r.name
	if r.count > 1 {
		if r.name == "nsh_c" {
			n++
		}
		name = fmt.Sprintf("%s%d", r.name, n)
	}
	return &RefusedError{name, r.why}
}

// RefusedField is the error that names a field which is not interpreted, by a name
// that ovs-ofctl has for it; nil if there is no such field.
func RefusedField(name string) error {
	for _, prefix := range [...]string{"NXM_NX_", "NXOXM_NSH_", "NXOXM_ET_", "OXM_OF_PKT_", "OXM_OF_", "ONFOXM_ET_"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			switch prefix {
			case "OXM_OF_PKT_":
				rest = "x" + rest
			case "NXOXM_NSH_":
				rest = "nsh_" + rest
			case "NXOXM_ET_":
				rest = "tun_" + rest
			}
			name = strings.ToLower(rest)
			break
		}
	}
	for i := range refusedFields {
		r := &refusedFields[i]
		for n := range r.count {
			// In a match ovs-ofctl leaves out the prefix of some.
			if err := r.at(n); err.(*RefusedError).Name == name || err.(*RefusedError).Name == "tun_"+name {
				return err
			}
		}
	}
	return nil
}

// RefusedOXM is RefusedField by the header of the field; experimenter is that of class
// 0xffff.
func RefusedOXM(class uint16, number uint8, experimenter uint32) error {
	for i := range refusedFields {
		r := &refusedFields[i]
		if r.class == class && r.experimenter == experimenter && number >= r.number && number-r.number < r.count {
			return r.at(number - r.number)
		}
	}
	return nil
}
