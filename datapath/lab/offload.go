package lab

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/offload"
)

// tryOffloads finds out for each datapath type of the lab whether offloads may stay
// on. What was found is kept for as long as the same Open vSwitch is installed.
func (l *instance) tryOffloads(ctx context.Context) error {
	version, err := offload.Version(ctx)
	if err != nil {
		return err
	}
	found := map[string]offload.Verdict{}
	for _, h := range l.st.Spec.Hosts {
		datapath := l.st.Datapaths[h.Name]
		if _, known := found[datapath]; known {
			continue
		}
		v := l.st.Offloads[datapath]
		if !v.Tried || v.Version != version {
			l.step("offloads: try the datapath %s", datapath)
			v = offload.Try(ctx, datapath)
			if err := ctx.Err(); err != nil {
				return err
			}
			if !v.Tried {
				l.step("offloads stay off: %s", v.Finding)
			}
		}
		found[datapath] = v
	}
	return l.update(func(st *state) { st.Offloads = found })
}

// guestOffloads is how interfaces behind the host's switch have to be. Of a datapath of
// which nothing is known, offloads are off.
func (l *instance) guestOffloads(host string) netdev.OffloadMode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.st.Offloads[l.st.Datapaths[host]].Mode()
}

// underlayOffloads is how the underlay's links have to be: what one host leaves to the
// device in a tunnel, another one's datapath may be the next to see.
func (l *instance) underlayOffloads() netdev.OffloadMode {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.st.Spec.Hosts {
		if mode := l.st.Offloads[l.st.Datapaths[h.Name]].Mode(); mode != netdev.OffloadsOn {
			return mode
		}
	}
	return netdev.OffloadsOn
}
