package flows_test

import (
	"encoding/binary"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	. "github.com/ofctl-lab/ofctl-lab/flows"
)

// TestFieldNumbers gives ovs-ofctl a flow-mod that matches each field by its
// number and prerequisites, and reads what it takes that for.
func TestFieldNumbers(t *testing.T) {
	need.Have(t, need.Programs("deps", "ovs-ofctl"))
	for f := InPort; f.Valid(); f++ {
		m := Match{}
		if ps := f.Prerequisites(); len(ps) > 0 {
			m = ps[len(ps)-1]
		}
		v := U(1)
		if f == VLANVID || f == VLANTCI {
			v = U(0x1001)
		}
		m = m.With(f, v)
		out, err := exec.Command("ovs-ofctl", "--no-names", "ofp-print", hex.EncodeToString(flowMod(m))).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", f, err, out)
		}
		_, text, _ := strings.Cut(string(out), "ADD ")
		got, err := ParseFlow("priority=0 " + strings.TrimSpace(strings.Replace(text, "priority=0,", "", 1)))
		want := Normalize(&Flow{Match: m})
		if err != nil || got.Key() != want.Key() {
			t.Errorf("%s: ovs-ofctl reads %q, %v; want %v", f, out, err, want)
		}
		byName, ok := ByName(f.Name())
		bySymbol, ok2 := BySymbol(f.Symbol())
		class, number, n := f.OXMHeader()
		byOXM, ok3 := FieldByOXM(class, number)
		if !ok || !ok2 || !ok3 || byName != f || bySymbol != f || byOXM != f {
			t.Errorf("%s is not found by its name, symbol and header", f)
		}
		if int(f.Bits()) > 8*n {
			t.Errorf("%s: %d bits in %d bytes", f, f.Bits(), n)
		}
	}
}

// flowMod is the OFPFC_ADD of a flow without instructions.
func flowMod(m Match) []byte {
	oxms := []byte{0, 1, 0, 0}
	for _, e := range m {
		class, number, n := e.Field.OXMHeader()
		oxms = binary.BigEndian.AppendUint16(oxms, class)
		masked := byte(0)
		size := n
		if e.Mask != e.Field.FullMask() {
			masked, size = 1, 2*n
		}
		exp := e.Field.OXMExperimenter()
		if exp != 0 {
			size += 4
		}
		oxms = append(oxms, number<<1|masked, byte(size))
		if exp != 0 {
			oxms = binary.BigEndian.AppendUint32(oxms, exp)
		}
		for _, v := range []Value{e.Value, e.Mask}[:1+masked] {
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], v.Hi)
			binary.BigEndian.PutUint64(b[8:], v.Lo)
			oxms = append(oxms, b[16-n:]...)
		}
	}
	binary.BigEndian.PutUint16(oxms[2:], uint16(len(oxms)))
	for len(oxms)%8 != 0 {
		oxms = append(oxms, 0)
	}
	b := make([]byte, 48)
	b[0], b[1], b[7] = 4, 14, 1
	for i := 32; i < 44; i++ {
		b[i] = 0xff // no buffer, any output port, any group
	}
	b = append(b, oxms...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}
