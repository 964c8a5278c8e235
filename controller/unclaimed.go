package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// maxUnclaimed bounds the list of switches that are no host's, since anybody
// can connect with any datapath id.
const maxUnclaimed = 256

// unclaimedBridges are the switches that connected and were refused.
type unclaimedBridges struct {
	mu   sync.Mutex
	list map[string]*api.UnclaimedBridge // by datapath id and peer's address; guarded by mu
}

func bridgeKey(id uint64, peer string) string { return fmt.Sprintf("%016x %s", id, address(peer)) }

// add notes a refusal and reports whether it is news: a switch not listed yet,
// or another reason.
func (u *unclaimedBridges) add(id uint64, peer, reason string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := bridgeKey(id, peer)
	b := u.list[key]
	if b == nil {
		if len(u.list) >= maxUnclaimed {
			u.forgetOldest()
		}
		b = &api.UnclaimedBridge{DatapathID: fmt.Sprintf("%016x", id)}
		u.list[key] = b
	}
	news := b.Reason != reason
	b.Peer, b.Reason, b.LastSeen = peer, reason, time.Now()
	b.Attempts++
	return news
}

func (u *unclaimedBridges) forgetOldest() {
	var oldest string
	for k, b := range u.list {
		if oldest == "" || b.LastSeen.Before(u.list[oldest].LastSeen) {
			oldest = k
		}
	}
	delete(u.list, oldest)
}

// remove forgets a switch that is served now.
func (u *unclaimedBridges) remove(id uint64, peer string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.list, bridgeKey(id, peer))
}

// all is a copy of the list, by datapath id and peer.
func (u *unclaimedBridges) all() []api.UnclaimedBridge {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]api.UnclaimedBridge, 0, len(u.list))
	for _, b := range u.list {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b api.UnclaimedBridge) int {
		return cmp.Or(cmp.Compare(a.DatapathID, b.DatapathID), cmp.Compare(a.Peer, b.Peer))
	})
	return out
}

const (
	// peerInterval is how often the same address may cause a log line.
	peerInterval = time.Minute
	// maxPeers bounds how many addresses are remembered.
	maxPeers = 1024
)

// peerLog logs trouble with peers at a bounded rate: somebody who scans a port
// must not fill the disk.
type peerLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	last  map[string]time.Time // by address and message; guarded by mu
	muted uint64               // guarded by mu
}

// warn logs once a minute for each address and message.
func (p *peerLog) warn(ctx context.Context, peer, msg string, err error) {
	key, now := address(peer)+" "+msg, time.Now()
	p.mu.Lock()
	if now.Sub(p.last[key]) < peerInterval {
		p.muted++
		p.mu.Unlock()
		return
	}
	if len(p.last) >= maxPeers {
		clear(p.last)
	}
	p.last[key] = now
	muted := p.muted
	p.muted = 0
	p.mu.Unlock()
	args := []any{"peer", peer, "err", err}
	if muted > 0 {
		args = append(args, "muted", muted)
	}
	p.log.WarnContext(ctx, msg, args...)
}

// address is a peer without its port, which is another for each attempt.
func address(peer string) string {
	for i := len(peer) - 1; i >= 0; i-- {
		if peer[i] == ':' {
			return peer[:i]
		}
	}
	return peer
}
