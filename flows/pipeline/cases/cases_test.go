package cases

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// The same seed makes the same overlay, with the same packets.
func TestRandomIsRepeatable(t *testing.T) {
	for seed := range uint64(10) {
		size := Size{Hosts: MinHosts + int(seed), Features: 20}
		a, b := Random(seeded(seed), size), Random(seeded(seed), size)
		if !reflect.DeepEqual(a.Cases, b.Cases) {
			t.Fatalf("seed %d: the cases differ", seed)
		}
		for i, h := range a.Snapshot.Hosts() {
			one, err := pipeline.Compile(a.Snapshot, h.Name)
			if err != nil {
				t.Fatal(err)
			}
			two, err := pipeline.Compile(b.Snapshot, b.Snapshot.Hosts()[i].Name)
			if err != nil {
				t.Fatal(err)
			}
			if !one.Equal(two) {
				t.Fatalf("seed %d: the flows of %s differ", seed, h.Name)
			}
		}
	}
}

// What is declared says something, and does not contradict itself.
func TestDeclarationsMakeSense(t *testing.T) {
	for _, d := range Declarations() {
		o := Alone(d, seeded(1))
		if len(o.Cases) == 0 {
			t.Errorf("%s declares no packets", d.Name)
		}
		for _, c := range o.Cases {
			if len(c.By) == 0 {
				t.Errorf("%s: no feature is said to take it", c.Name)
			}
			for _, f := range c.By {
				if slices.Contains(c.NotBy, f) {
					t.Errorf("%s: feature %s takes it, and does not", c.Name, f)
				}
			}
		}
	}
}

// Every packet near the declared ones is an Ethernet frame, and most of them are not
// what was declared.
func TestNearIsNotTheSame(t *testing.T) {
	o, r := Random(seeded(3), Size{Hosts: MinHosts, Features: 20}), seeded(4)
	same := 0
	const packets = 2000
	for range packets {
		p := o.Near(r)
		if len(p.Frame) < 14 {
			t.Fatalf("%x is too short", p.Frame)
		}
		if slices.ContainsFunc(o.Cases, func(c *Case) bool { return reflect.DeepEqual(c.Packet, p) }) {
			same++
		}
	}
	if same > packets/4 {
		t.Errorf("%d of %d packets are declared ones", same, packets)
	}
}
