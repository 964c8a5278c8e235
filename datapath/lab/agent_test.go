package lab

import (
	"path/filepath"
	"testing"
	"time"
)

// The agent of a guest that is ready since a moment ago may not be there yet.
func TestPatienceWithAgent(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		state machineState
		young bool
	}{
		"nothing known": {machineState{}, false},
		"booting":       {machineState{Phase: MachineBooting, Started: now}, false},
		"ready":         {machineState{Phase: MachineReady, Ready: now}, true},
		"ready long":    {machineState{Phase: MachineReady, Ready: now.Add(-time.Hour)}, false},
		"moved":         {machineState{Phase: MachineMoved, Ready: now}, false},
	} {
		dir := t.TempDir()
		if err := writeJSON(filepath.Join(dir, stateFile), c.state); err != nil {
			t.Fatal(err)
		}
		got := patienceWithAgent(dir)
		if c.young && (got <= agentTimeout || got > agentStart) || !c.young && got != agentTimeout {
			t.Errorf("%s: %s", name, got)
		}
	}
}
