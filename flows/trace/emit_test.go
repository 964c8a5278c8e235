package trace

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// TestReservedBitsOfND: behind an extension header Open vSwitch computes the checksum with
// what the IPv6 header itself says, and the type of an option that is no address stays. The
// bytes are those that its userspace datapath sent (found by make differential).
func TestReservedBitsOfND(t *testing.T) {
	const head = "0200000000013333000000018100000086dd60300000003833fffe800000000000000000000000000001fe0200000000000000000000000000013a02e3b53a2d5f3352cec5d8fae10356"
	const target, option = "fd010000000000000000000000000001", "03020180c200000e0000000000000000"
	frame, err := hex.DecodeString(head + "8800647640000001" + target + option)
	if err != nil {
		t.Fatal(err)
	}
	f, err := flows.ParseFlow("icmp6,icmp_type=136,icmp_code=0 actions=set_field:1->nd_reserved,output:2")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{State: flows.Flat(&flows.Part{Flows: []*flows.Flow{flows.Normalize(f)}}), Ports: []Port{{Number: 1}, {Number: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPacket(1, frame)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(head + "8800b77900000001" + target + option)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Trace(p, Options{}).Branches[0].Outputs
	if len(out) != 1 || !bytes.Equal(out[0].Frame, want) {
		t.Errorf("it sends %+v, want %x", out, want)
	}
}
