package main

import (
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// learnedCount is how many source MACs a port has learned of how many it may, ""
// for a port that learns none.
func learnedCount(l *api.Learning) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("%d/%d", l.Count, l.Limit)
}

// describeLearning lists the source MACs that a port has learned.
func describeLearning(t *tables, l *api.Learning) {
	if l == nil {
		return
	}
	t.gap()
	full := ""
	if l.Full {
		full = ": the port is full, and frames from other source MACs are dropped (mac-limit); look for a flood behind it, or raise its macs"
	}
	t.line("%d of at most %d source MACs learned%s", l.Count, l.Limit, full)
	if len(l.MACs) == 0 {
		return
	}
	t.gap()
	rows := make([][]string, 0, len(l.MACs))
	for _, m := range l.MACs {
		vlan, note := "", ""
		if m.VLAN != 0 {
			vlan = utoa(m.VLAN)
		}
		if m.Held {
			note = "is at another port too: a loop, or two stations with one address"
		}
		rows = append(rows, []string{m.MAC, m.Network, vlan, age(m.LastSeen), note})
	}
	t.table([]string{"LEARNED MAC", "NETWORK", "VLAN", "LAST SEEN", "NOTE"}, rows)
}

// age says how long ago something was, in seconds.
func age(at *time.Time) string {
	if at == nil {
		return ""
	}
	return fmt.Sprintf("%s ago", max(0, time.Since(*at)).Truncate(time.Second))
}
