package explain

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// formatField is a field and its value as dump-flows writes a match.
func formatField(f flows.Field, v, mask flows.Value, o flows.FormatOptions) string {
	return flows.Match{{Field: f, Value: v, Mask: mask}}.Format(o)
}

// Bits of a TCI (IEEE 802.1Q-2018 section 9.6); bit 12 stands for "there is a tag".
const (
	tciPresent  = 0x1000
	tciVID      = 0xfff
	tciPriority = 13
)

// formatTCI is a frame's tag in words.
func formatTCI(tci uint64) string {
	if tci&tciPresent == 0 {
		return "untagged"
	}
	s := fmt.Sprintf("dl_vlan=%d", tci&tciVID)
	if p := tci >> tciPriority & 7; p != 0 {
		s += fmt.Sprintf(",dl_vlan_pcp=%d", p)
	}
	return s
}

// Ethernet types of tags.
const (
	etherVLAN = 0x8100
	etherSTag = 0x88a8
)

// vlanOf is the VLAN ID of a frame's tag, 0 if it has none.
func vlanOf(frame []byte) uint16 {
	if len(frame) < 16 {
		return 0
	}
	if t := binary.BigEndian.Uint16(frame[12:]); t != etherVLAN && t != etherSTag {
		return 0
	}
	return binary.BigEndian.Uint16(frame[14:]) & tciVID
}

// actions is what a flow does.
func actions(f *flows.Flow, o flows.FormatOptions) string {
	_, s, _ := strings.Cut(f.Format(o), "actions=")
	return s
}

func tableName(n uint8) string {
	if name := pipeline.TableName(n); name != "" {
		return name
	}
	return fmt.Sprint(n)
}

func tenant(network string) string {
	t, _, ok := strings.Cut(network, "/")
	if !ok {
		return ""
	}
	return t
}
