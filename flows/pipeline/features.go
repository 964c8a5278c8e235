package pipeline

import (
	"fmt"
	"maps"
	"slices"
)

// Feature is the meaning of a cookie's feature byte: the table that a row
// serves, or the reason for which it drops.
type Feature uint8

// The features; numbers are part of the contract with a running switch. Those
// from 0x80 drop.
const (
	FeatClassify     Feature = 1
	FeatSpoofGuard   Feature = 2
	FeatARP          Feature = 3
	FeatL2           Feature = 4
	FeatFlood        Feature = 5
	FeatOutput       Feature = 6
	FeatStandby      Feature = 7
	FeatArrival      Feature = 8
	FeatLearned      Feature = 9
	FeatLearn        Feature = 10
	FeatReachability Feature = 11

	DropUnclaimedPort   Feature = 0x80
	DropVLANNotAllowed  Feature = 0x81
	DropDoubleTag       Feature = 0x82
	DropUnknownKey      Feature = 0x83
	DropUnknownTEP      Feature = 0x84
	DropSpoofedMAC      Feature = 0x85
	DropSpoofedARP      Feature = 0x86
	DropSpoofedIPv4     Feature = 0x87
	DropSpoofedIPv6     Feature = 0x88
	DropSpoofedND       Feature = 0x89
	DropIPv6NotDeclared Feature = 0x8a
	DropControlFrame    Feature = 0x8b
	DropUnknownUnicast  Feature = 0x8c
	DropSplitHorizon    Feature = 0x8d
	DropNoRow           Feature = 0x8e
	DropInvalidSource   Feature = 0xa0
	DropTakenMAC        Feature = 0xa1
	DropMACLimit        Feature = 0xa2
	DropPortDown        Feature = 0xb0
	DropLLDP            Feature = 0x90
	DropSTP             Feature = 0x91
	DropSlow            Feature = 0x92
	DropCisco           Feature = 0x93
	Drop8021X           Feature = 0x94
	DropPause           Feature = 0x95
	DropNoFarEnd        Feature = 0x96
)

// Generation is the cookie generation of this pipeline: raised when a release
// changes what a feature number means, never at run time.
const Generation uint8 = 1

type featureDoc struct {
	name, purpose string
}

var features = map[Feature]featureDoc{
	FeatClassify:   {"classify", "the frame belongs to a network"},
	FeatSpoofGuard: {"spoof-guard", "the source belongs to the port or peer"},
	FeatARP:        {"arp", "ARP request answered in the switch, or let through"},
	FeatL2:         {"l2", "the destination is known, or floods"},
	FeatFlood:      {"flood", "to every member of the network but the sender"},
	FeatOutput:     {"output", "leaves by a port or a tunnel"},
	FeatLearned:    {"learned", "from or to a MAC that was learned at the port"},
	FeatLearn:      {"learn", "from a MAC that is not learned yet: the controller is told, at a limited rate"},

	FeatStandby: {"standby", "to a port that is being migrated, from hosts that send to it here already"},
	FeatArrival: {"arrival", "the source belongs to the port, which is being migrated: the controller is told"},

	FeatReachability: {"reachability", "a probe that the controller had a peer send: the controller is told, at a limited rate"},

	DropUnclaimedPort:   {"unclaimed-port", "from a port that no declared port's iface-id claims"},
	DropVLANNotAllowed:  {"vlan-not-allowed", "tagged with a VLAN ID that the port does not carry"},
	DropDoubleTag:       {"double-tag", "a second VLAN tag under the first"},
	DropUnknownKey:      {"unknown-key", "from a tunnel, with a key of no network on this host"},
	DropUnknownTEP:      {"unknown-tep", "from a tunnel, sent by an address that is no peer's endpoint"},
	DropSpoofedMAC:      {"spoofed-mac", "source MAC is not the port's"},
	DropSpoofedARP:      {"spoofed-arp", "ARP sender is not the port's MAC and address"},
	DropSpoofedIPv4:     {"spoofed-ipv4", "IPv4 source is not the port's"},
	DropSpoofedIPv6:     {"spoofed-ipv6", "IPv6 source is not the port's"},
	DropSpoofedND:       {"spoofed-nd", "neighbour advertisement for an address that is not the port's"},
	DropIPv6NotDeclared: {"ipv6-not-declared", "IPv6 from a port that declares IPv4 addresses only"},
	DropControlFrame:    {"control-frame", "link-local control frame of none of the protocols below (01:80:c2:00:00:0x)"},
	DropUnknownUnicast:  {"unknown-unicast", "destination MAC unknown in a network whose ports are all known"},
	DropSplitHorizon:    {"split-horizon", "came from a tunnel and would leave by one"},
	DropPortDown:        {"port-down", "to a declared port that is bound nowhere, in a network that answers for those"},
	DropNoRow:           {"no-row", "no row of the table takes the packet"},
	DropInvalidSource:   {"invalid-source", "source MAC is a group address or zero"},
	DropTakenMAC:        {"taken-mac", "from another port of profile switch, with the MAC that this port declares"},
	DropMACLimit:        {"mac-limit", "source MAC is not learned, and the port has as many as it may"},
	DropLLDP:            {"control-lldp", "LLDP (IEEE 802.1AB), which is for the next switch and not for those behind it"},
	DropSTP:             {"control-stp", "spanning tree (STP, RSTP, MSTP, PVST+)"},
	DropSlow:            {"control-lacp", "a Slow Protocol (LACP, marker, OAM, ESMC: IEEE 802.3 annex 57A)"},
	DropCisco:           {"control-cdp", "CDP, VTP, DTP, PAgP or UDLD (01:00:0c:cc:cc:cc)"},
	Drop8021X:           {"control-8021x", "port authentication (EAPOL, IEEE 802.1X)"},
	DropPause:           {"control-pause", "MAC Control (PAUSE, priority flow control: IEEE 802.3 clause 31)"},
	DropNoFarEnd:        {"no-far-end", "the other end of the wire is bound nowhere, or on a host without a tunnel to it"},
}

// Features are all features, ascending. The slice is the caller's.
func Features() []Feature { return slices.Sorted(maps.Keys(features)) }

// IsDrop reports whether rows with this feature drop.
func IsDrop(feature uint8) bool { return feature >= uint8(DropUnclaimedPort) }

// FeatureName is the name of a cookie's feature byte, "feature-N" if unknown.
func FeatureName(feature uint8) string {
	if d, ok := features[Feature(feature)]; ok {
		return d.name
	}
	return fmt.Sprintf("feature-%d", feature)
}

// FeaturePurpose says what a cookie's feature byte means, "" if unknown.
func FeaturePurpose(feature uint8) string { return features[Feature(feature)].purpose }

// String is the feature's name.
func (f Feature) String() string { return FeatureName(uint8(f)) }
