package verify

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// effect numbers what rows do with a packet, as far as that matters behind them: of
// packets that agree in all else, rows with one effect make packets that agree. So of
// all rows of a table that take packets of a node and have one effect, one has to be
// executed. 0 is the effect of rows that are always executed.
type effect int32

// effects numbers the effects of a switch by their keys.
type effects struct {
	seed  maphash.Seed
	index interner
	keys  [][]byte
	bytes slab[byte]
}

// size is one more than the greatest effect.
func (e *effects) size() int { return len(e.keys) + 1 }

func (e *effects) clear() {
	if e.keys == nil {
		e.seed = maphash.MakeSeed()
	}
	e.index.clear()
	e.keys = e.keys[:0]
	e.bytes.clear()
}

func (e *effects) of(key []byte) effect {
	n, fresh := e.index.number(maphash.Bytes(e.seed, key), func(i int32) bool { return bytes.Equal(e.keys[i], key) })
	if fresh {
		e.keys = append(e.keys, e.bytes.keep(key))
	}
	return effect(n + 1)
}

// shareEffects gives rows their effects.
func (p *program) shareEffects() {
	var key []byte
	for i := range p.rows {
		if r := &p.rows[i]; r.flow != nil && onlyPassesOn(r.flow) {
			key = p.effectKey(key[:0], r)
			r.effect = p.effects.of(key)
		}
	}
}

// onlyPassesOn reports whether a flow does nothing but change packets and send them to
// one table, so that all there is to know of it is how they arrive there.
func onlyPassesOn(f *flows.Flow) bool {
	if len(f.Write) > 0 || f.ClearActions {
		return false
	}
	for _, a := range f.Apply {
		switch a := a.(type) {
		case flows.SetField, flows.Move:
		case flows.ToController:
			if a.Pause {
				return false // a doubt of its own
			}
		default:
			return false
		}
	}
	return true
}

// effectKey appends what two rows have in common if and only if their effects are the
// same: where they send packets, what they write, and what is known of packets because
// they took them; the two latter only of slots that matter afterwards. Each part starts
// with what it is, so that no two keys are the same by chance.
func (p *program) effectKey(k []byte, r *row) []byte {
	f := r.flow
	live := p.ahead(f)
	live.add(p.slots[flows.InPort]) // matters everywhere once it was written
	live = p.reads(f, live)
	for _, a := range f.Apply {
		switch a := a.(type) {
		case flows.SetField:
			p.asks(&live, a.Field)
		case flows.Move:
			p.asks(&live, a.Src.Field)
			p.asks(&live, a.Dst.Field)
		}
	}
	k = append(k, f.Goto)
	k = appendValue(k, flows.Value{Hi: f.Metadata, Lo: f.MetadataMask})
	for i := range r.wants {
		if w := &r.wants[i]; live.has(w.slot) {
			k = appendValue(appendValue(append(k, 'm', w.slot), w.v), w.m)
		}
	}
	for _, a := range f.Apply {
		switch a := a.(type) {
		case flows.SetField:
			if a.Field == flows.VLANTCI || live.has(p.slots[a.Field]) {
				k = appendValue(appendValue(append(k, 'v', byte(a.Field)), a.Value), a.Mask)
			} else {
				k = append(k, 's', byte(a.Field)) // it is noted that it was written
			}
		case flows.Move:
			k = append(k, 'c', byte(a.Src.Field), byte(a.Dst.Field), byte(a.Src.Bits))
			k = binary.BigEndian.AppendUint16(k, a.Src.Offset)
			k = binary.BigEndian.AppendUint16(k, a.Dst.Offset)
		}
	}
	return k
}

// asks adds the slots that an action on a field asks for whether the packet has it.
func (p *program) asks(live *slotset, f flows.Field) {
	for _, m := range f.Prerequisites() {
		for i := range m {
			live.add(p.slots[m[i].Field])
		}
	}
}

func appendValue(k []byte, v flows.Value) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(k, v.Lo), v.Hi)
}
