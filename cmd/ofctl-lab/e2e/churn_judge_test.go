package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/churn"
)

// churnMagic begins the mark of a frame.
var churnMagic = []byte("churn mark \x00\xc4")

// churnMark is what a frame says of itself.
type churnMark struct {
	Slot  churn.Slot
	Tags  []uint16 // VLAN IDs of its tags as it was sent, the outermost first
	Asks  bool     // it is an ARP request
	Sent  time.Time
	Token uint64 // not 0 for one whose arrival is waited for
	Label string // the network and its generation as the sender has it, for people
}

// bytes is the mark as it is put behind a frame's headers.
func (m churnMark) bytes() []byte {
	asks := byte(0)
	if m.Asks {
		asks = 1
	}
	b := append(bytes.Clone(churnMagic), byte(m.Slot.Host), byte(m.Slot.Interface), asks, byte(len(m.Tags)))
	for _, v := range m.Tags {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(m.Sent.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, m.Token)
	return append(append(b, byte(len(m.Label))), m.Label...)
}

// churnMarkOf reads the mark of a frame; false if it has none.
func churnMarkOf(frame []byte) (m churnMark, ok bool) {
	_, b, ok := bytes.Cut(frame, churnMagic)
	if !ok || len(b) < 4 {
		return m, false
	}
	m.Slot, m.Asks = churn.Slot{Host: int(b[0]), Interface: int(b[1])}, b[2] == 1
	tags := int(b[3])
	if b = b[4:]; len(b) < 2*tags+17 {
		return m, false
	}
	for i := range tags {
		m.Tags = append(m.Tags, binary.BigEndian.Uint16(b[2*i:]))
	}
	b = b[2*tags:]
	m.Sent, m.Token = time.Unix(0, int64(binary.BigEndian.Uint64(b))), binary.BigEndian.Uint64(b[8:])
	if n := int(b[16]); len(b) >= 17+n {
		m.Label = string(b[17 : 17+n])
	}
	return m, true
}

// tagsOf are the VLAN IDs of a frame's tags, the outermost first.
func tagsOf(frame []byte) (tags []uint16) {
	for at := 12; at+4 <= len(frame) && binary.BigEndian.Uint16(frame[at:]) == cTag; at += 4 {
		tags = append(tags, binary.BigEndian.Uint16(frame[at+2:])&0xfff)
	}
	return tags
}

// entryVLAN is the place in a slot at which a frame with these tags enters or leaves.
func entryVLAN(tags []uint16) int {
	if len(tags) == 0 {
		return 0
	}
	return int(tags[0])
}

// window is a time in which something was so; to is zero while it is.
type window struct{ from, to time.Time }

// history says from when to when things were so: from before a step is begun that makes
// them so, until one is complete that ends them.
type history[K comparable] map[K][]window

// is notes that k is so, from now on if it was not.
func (h history[K]) is(k K, now time.Time) {
	if ws := h[k]; len(ws) == 0 || !ws[len(ws)-1].to.IsZero() {
		h[k] = append(ws, window{from: now})
	}
}

// was reports whether k was so at any moment between two.
func (h history[K]) was(k K, from, to time.Time) bool {
	ws := h[k]
	for i := len(ws) - 1; i >= 0; i-- {
		w := ws[i]
		if !w.from.After(to) && (w.to.IsZero() || !w.to.Before(from)) {
			return true
		}
		if w.from.Before(from) {
			break // those before it ended before it began
		}
	}
	return false
}

// only ends all that is so and is not in the set.
func only[K comparable, V any](h history[K], set map[K]V, now time.Time) {
	for k, ws := range h {
		last := &ws[len(ws)-1]
		if _, still := set[k]; !still && last.to.IsZero() {
			last.to = now
		}
	}
}

// churnSeat is a place in a network.
type churnSeat struct {
	place   churn.Place
	network string
}

// churnJudge holds every captured frame against the law of TestChurn. Its methods may be
// called from any goroutine.
type churnJudge struct {
	// limit is the longest life of a frame that is judged; 0 judges all.
	limit time.Duration
	// cached is what a slot's switch has cached that sends to it.
	cached func(churn.Slot) string
	// arrived is rung when a frame with a token has come. Capacity 1.
	arrived chan struct{}

	mu       sync.Mutex // guards all below
	seats    history[churnSeat]
	stations history[churn.Station]
	networks map[string]bool                // all there ever were
	arrivals map[uint64]map[churn.Slot]bool // of the tokens that are waited for
	foreign  []string

	judged   uint64 // frames
	outlived uint64 // frames that were too old
	replies  uint64 // ARP replies made by switches, among the judged
}

func newChurnJudge(limit time.Duration) *churnJudge {
	return &churnJudge{limit: limit, seats: history[churnSeat]{}, stations: history[churn.Station]{}, networks: map[string]bool{},
		arrivals: map[uint64]map[churn.Slot]bool{}, arrived: make(chan struct{}, 1)}
}

// begin notes what is going to be so, at the end of a step or for a moment within it.
func (j *churnJudge) begin(pictures []churn.Picture) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	for _, p := range pictures {
		for at, network := range p.Places {
			j.seats.is(churnSeat{at, network}, now)
			j.networks[network] = true
		}
		for s := range p.Stations {
			j.stations.is(s, now)
		}
	}
}

// complete notes that a step is complete: what is in the picture is so, and nothing else.
func (j *churnJudge) complete(p churn.Picture) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	seats := map[churnSeat]bool{}
	for at, network := range p.Places {
		seats[churnSeat{at, network}] = true
	}
	only(j.seats, seats, now)
	only(j.stations, p.Stations, now)
}

// captured judges a frame that the guest at a slot was given.
func (j *churnJudge) captured(at churn.Slot, f netdev.Frame) {
	m, ok := churnMarkOf(f.Data)
	if !ok {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.limit > 0 && f.Time.Sub(m.Sent) > j.limit {
		j.outlived++
		return
	}
	j.judged++
	common := j.common(m, at, f)
	switch a := arpOf(f); {
	case at == m.Slot && m.Asks && a != nil && a.Operation == layers.ARPReply:
		// The switch has made its answer of the frame that asked.
		j.replies++
		sha := topo.MAC(a.SourceHwAddress)
		if !slices.ContainsFunc(common, func(n string) bool { return j.stations.was(churn.Station{Network: n, MAC: sha}, m.Sent, f.Time) }) {
			j.blame(fmt.Sprintf("an ARP reply of %s, which is in no network of its own", sha), at, m, f)
		}
	case at == m.Slot:
		j.blame("its own frame", at, m, f)
	case len(common) == 0:
		j.blame("a foreign frame", at, m, f)
	default:
		if to := j.arrivals[m.Token]; to != nil {
			to[at] = true
			select {
			case j.arrived <- struct{}{}:
			default:
			}
		}
	}
}

// common are the networks in which the place that a frame was sent from and the one where
// it was captured both were at some moment of its life.
func (j *churnJudge) common(m churnMark, at churn.Slot, f netdev.Frame) (out []string) {
	in := func(s churn.Slot, tags []uint16, network string) bool {
		was := func(vlan int) bool {
			return j.seats.was(churnSeat{churn.Place{Slot: s, VLAN: vlan}, network}, m.Sent, f.Time)
		}
		// With two tags a frame is of a wire or of nothing.
		return len(tags) < 2 && was(entryVLAN(tags)) || was(churn.AnyVLAN)
	}
	for n := range j.networks {
		if in(m.Slot, m.Tags, n) && in(at, tagsOf(f.Data), n) {
			out = append(out, n)
		}
	}
	return out
}

// blame notes a violation of the law, with what is needed to understand it.
func (j *churnJudge) blame(what string, at churn.Slot, m churnMark, f netdev.Frame) {
	if len(j.foreign) > 4 {
		return
	}
	const clock = "15:04:05.000000"
	var b strings.Builder
	fmt.Fprintf(&b, "%s captured %s with tags %v at %s, sent by %s with tags %v into %s %s earlier\n",
		at, what, tagsOf(f.Data), f.Time.Format(clock), m.Slot, m.Tags, m.Label, f.Time.Sub(m.Sent))
	for seat, ws := range j.seats {
		w := ws[len(ws)-1]
		if (seat.place.Slot == at || seat.place.Slot == m.Slot) && (w.to.IsZero() || f.Time.Sub(w.to) < time.Second) {
			until := "now"
			if !w.to.IsZero() {
				until = w.to.Format(clock)
			}
			fmt.Fprintf(&b, "  %s was in %s from %s to %s\n", seat.place, seat.network, w.from.Format(clock), until)
		}
	}
	fmt.Fprintf(&b, "  % x\n", f.Data)
	if len(j.foreign) == 0 {
		fmt.Fprintf(&b, "  cached by its switch:\n%s", j.cached(at))
	}
	j.foreign = append(j.foreign, b.String())
}

// verdict is what was found since it was last asked for.
func (j *churnJudge) verdict() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.foreign
	j.foreign = nil
	return out
}

// await begins to note where frames with a token come.
func (j *churnJudge) await(token uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.arrivals[token] = map[churn.Slot]bool{}
}

// missing are the slots to which no frame with the token has come.
func (j *churnJudge) missing(token uint64, slots []churn.Slot) []churn.Slot {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(slots), func(s churn.Slot) bool { return j.arrivals[token][s] })
}

func (j *churnJudge) forget(token uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.arrivals, token)
}
