package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// TestKeysLinger: the time counts from when all switches were seen to have followed,
// for each key by itself, and from when a key was last given up.
func TestKeysLinger(t *testing.T) {
	begun := time.Now()
	l := lingering{time: 5 * time.Second}
	early, late := topo.RetiredKey{Key: 1, Revision: 10}, topo.RetiredKey{Key: 2, Revision: 20}
	both := []topo.RetiredKey{early, late}
	for _, step := range []struct {
		what    string
		seconds int
		retired []topo.RetiredKey
		synced  uint64
		free    uint64
		again   int
	}{
		{"no switch has followed", 0, both, 9, 0, 0},
		{"the first one is dropped", 10, both, 10, 0, 5},
		{"the second one too", 13, both, 25, 0, 2},
		{"the time of the first one is over", 15, both, 25, 10, 3},
		{"and that of the second one", 18, []topo.RetiredKey{late}, 25, 20, 0},
		{"nothing is held back", 19, nil, 25, 0, 0},
		{"a key is given up again", 20, []topo.RetiredKey{{Key: 2, Revision: 30}}, 30, 0, 5},
		{"and its time is not over", 24, []topo.RetiredKey{{Key: 2, Revision: 30}}, 30, 0, 1},
		{"nor is it after it was given up once more", 30, []topo.RetiredKey{{Key: 2, Revision: 40}}, 40, 0, 5},
	} {
		free, again := l.look(step.retired, step.synced, begun.Add(time.Duration(step.seconds)*time.Second))
		if free != step.free || again != time.Duration(step.again)*time.Second {
			t.Fatalf("%s: free up to revision %d, to be looked at again after %v; want %d and %d s", step.what, free, again, step.free, step.again)
		}
	}
}

// TestRetiredKeyLingers: a key that no switch has flows with any more is refused to
// another network while frames with it may be on their way, and free after that.
func TestRetiredKeyLingers(t *testing.T) {
	thief := api.NetworkSpec{Tenant: "blue", Name: "thief", Encap: "gre", Key: 1000001}
	without := strings.Replace(twoHosts, "key: 1000001", "key: 1000009", 1)
	t.Run("not over", func(t *testing.T) {
		cfg := testConfig(t.TempDir())
		cfg.KeyLinger = time.Hour
		r, _, _ := twoHostRig(t, cfg)
		r.apply(without)
		r.until(r.synced)
		_, err := r.client.PutNetwork(r.ctx(), thief)
		if err == nil || !strings.Contains(err.Error(), "on their way") {
			t.Errorf("the key of frames that may be on their way was given out, or refused for another reason: %v", err)
		}
	})
	t.Run("over", func(t *testing.T) {
		cfg := testConfig(t.TempDir())
		cfg.KeyLinger = 10 * time.Millisecond
		r, _, _ := twoHostRig(t, cfg)
		r.apply(without)
		r.until(func() string {
			if n := len(r.c.engine.load().RetiredKeys()); n > 0 {
				return "the key is still retired"
			}
			return ""
		})
		if _, err := r.client.PutNetwork(r.ctx(), thief); err != nil {
			t.Error(err)
		}
	})
}
