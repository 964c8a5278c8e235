package topo

import (
	"fmt"
	"strings"
)

// The ranges of tunnel keys. Key 0 is never used: it is what a tunnel without a
// key looks like.
const (
	MaxGREKey uint32 = 1<<32 - 1 // RFC 2890 section 2.1
	MaxVNI    uint32 = 1<<24 - 1 // RFC 7348 section 5, RFC 8926 section 3.4

	// Keys are allocated lowest first from here up to the end of the range, so
	// that low numbers, which people give by hand, stay free.
	FirstAllocatedGREKey uint32 = 1 << 24
	FirstAllocatedVNI    uint32 = 1 << 23
)

// KeyRange is the lowest and the highest tunnel key of an encapsulation; both
// are 0 for a value that is no encapsulation.
func (e Encap) KeyRange() (lowest, highest uint32) {
	switch e {
	case GRE:
		return 1, MaxGREKey
	case VXLAN, Geneve:
		return 1, MaxVNI
	}
	return 0, 0
}

func (e Encap) firstAllocated() uint32 {
	if e == GRE {
		return FirstAllocatedGREKey
	}
	return FirstAllocatedVNI
}

// RetiredKey is a tunnel key whose network gave it up. Hosts that have not been
// told may still forward it to that network's ports, and frames with it may be on
// their way, so no other network gets it until Txn.ReleaseKeys.
type RetiredKey struct {
	Encap   Encap  `json:"encap"`
	Key     uint32 `json:"key"`
	Network string `json:"network"` // full name
	// Revision is the first one in which the network does not have the key.
	Revision uint64 `json:"revision"`
	// Hosts are those that had a port on the network at that time, by name.
	Hosts []string `json:"hosts,omitempty"`
}

// keyOf orders keys by encapsulation and then number.
func keyOf(e Encap, key uint32) uint64 { return uint64(e)<<32 | uint64(key) }

// keyring gives out keys during one commit.
type keyring struct {
	base    []*Network          // the keys of the snapshot before
	edits   map[uint64]*Network // nil: given up in this commit
	retired map[uint64]RetiredKey
	next    map[Encap]uint64 // where the search for a free key goes on
}

func newKeyring(base []*Network, retired []RetiredKey) *keyring {
	k := &keyring{base: base, edits: map[uint64]*Network{}, retired: map[uint64]RetiredKey{}, next: map[Encap]uint64{}}
	for _, r := range retired {
		k.retired[keyOf(r.Encap, r.Key)] = r
	}
	return k
}

// holder is the network that has the key now, nil if it is free.
func (k *keyring) holder(key uint64) *Network {
	if n, ok := k.edits[key]; ok {
		return n
	}
	return lookup(k.base, key, byKey)
}

// retire takes the key from the network that had it.
func (k *keyring) retire(n *Network, revision uint64, hosts []string) {
	key := keyOf(n.Encap, n.Key)
	k.edits[key] = nil
	k.retired[key] = RetiredKey{Encap: n.Encap, Key: n.Key, Network: n.FullName(), Revision: revision, Hosts: hosts}
}

// claim gives n the key it asks for, or says why it cannot have it.
func (k *keyring) claim(n *Network) *Problem {
	object := KindNetwork + " " + n.FullName()
	lowest, highest := n.Encap.KeyRange()
	if n.Key < lowest || n.Key > highest {
		return &Problem{Object: object, Field: "key",
			What: fmt.Sprintf("tunnel key %d is outside %d to %d, the range of %s", n.Key, lowest, highest, n.Encap),
			Hint: "choose a key in the range, or leave it out to have one allocated"}
	}
	key := keyOf(n.Encap, n.Key)
	if h := k.holder(key); h != nil && h.FullName() != n.FullName() {
		return &Problem{Object: object, Field: "key", Other: KindNetwork + " " + h.FullName(),
			What: fmt.Sprintf("%s key %d is already that of network %s", n.Encap, n.Key, h.FullName()),
			Hint: "a key names one network of its encapsulation: choose another one, or leave it out to have one allocated"}
	}
	if r, ok := k.retired[key]; ok && r.Network != n.FullName() {
		hosts := "every host"
		if len(r.Hosts) > 0 {
			hosts = "every host (it was on " + strings.Join(r.Hosts, ", ") + ")"
		}
		p := &Problem{Object: object, Field: "key", Other: KindNetwork + " " + r.Network,
			What: fmt.Sprintf("%s key %d was given up by network %s in revision %d, and hosts may still forward it, or frames with it be on their way", n.Encap, n.Key, r.Network, r.Revision),
			Hint: "wait until " + hosts + " has dropped its flows, and a few seconds longer, and try again; or choose another key"}
		if _, now := k.edits[key]; now {
			// Waiting would not help: the refusal undoes the giving up too.
			p.What = fmt.Sprintf("%s key %d is that of network %s, which gives it up in the same change; hosts that follow later would forward one network's packets to the other", n.Encap, n.Key, r.Network)
			p.Hint = "let " + r.Network + " give it up in a change of its own first, wait until " + hosts + " has followed, then give it to " + n.FullName() + "; or choose another key"
		}
		return p
	}
	delete(k.retired, key)
	k.edits[key] = n
	return nil
}

// allocate gives n the lowest free key from the start of the allocation range.
func (k *keyring) allocate(n *Network) *Problem {
	first := n.Encap.firstAllocated()
	_, highest := n.Encap.KeyRange()
	i := k.next[n.Encap]
	if i == 0 {
		i = uint64(first)
	}
	for ; i <= uint64(highest); i++ {
		key := keyOf(n.Encap, uint32(i))
		if _, retired := k.retired[key]; !retired && k.holder(key) == nil {
			n.Key, n.KeyAllocated = uint32(i), true
			k.edits[key] = n
			k.next[n.Encap] = i + 1
			return nil
		}
	}
	k.next[n.Encap] = i
	return &Problem{Object: KindNetwork + " " + n.FullName(), Field: "key",
		What: fmt.Sprintf("no %s key is left between %d and %d", n.Encap, first, highest),
		Hint: "give one below that range, or delete networks that are not needed"}
}

// rest is the retired keys that remain, in order.
func (k *keyring) rest() []RetiredKey {
	var out []RetiredKey
	for _, key := range sortedKeys(k.retired) {
		out = append(out, k.retired[key])
	}
	return out
}
