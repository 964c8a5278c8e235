package sim

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// Underlay carries tunnels between switches in memory. All methods may be called
// concurrently.
type Underlay struct {
	mu    sync.Mutex
	hosts map[netip.Addr]host
	lost  int
}

type host struct {
	sw    *Switch
	ports map[string]uint32
}

// NewUnderlay is an underlay without hosts.
func NewUnderlay() *Underlay { return &Underlay{hosts: map[netip.Addr]host{}} }

// Join makes a switch the host with a tunnel endpoint. ports are its tunnel ports by
// encapsulation ("gre", "vxlan", "geneve"), which take tunnels from all peers under all
// keys. An endpoint that another switch has is an error.
func (u *Underlay) Join(tep netip.Addr, sw *Switch, ports map[string]uint32) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if h, taken := u.hosts[tep]; taken && h.sw != sw {
		return fmt.Errorf("sim: another switch has tunnel endpoint %s", tep)
	}
	u.hosts[tep] = host{sw, ports}
	for encap, port := range ports {
		sw.SetTunnel(port, &trace.Tunnel{Encap: encap})
		sw.Attach(port, func(frame []byte, via *trace.Via) { u.carry(tep, frame, via) })
	}
	return nil
}

// Lost is how many frames were sent to an endpoint that there is not.
func (u *Underlay) Lost() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lost
}

// carry takes a frame to the switch where its tunnel ends.
func (u *Underlay) carry(from netip.Addr, frame []byte, via *trace.Via) {
	u.mu.Lock()
	h, ok := u.hosts[via.Remote]
	port := h.ports[via.Encap]
	if !ok || port == 0 {
		u.lost++
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	// Its only errors are a port that was removed meanwhile and a frame too short to
	// have left.
	if err := h.sw.SendTunnelled(port, frame, via.Key, from, via.Remote); err != nil {
		u.mu.Lock()
		u.lost++
		u.mu.Unlock()
	}
}
