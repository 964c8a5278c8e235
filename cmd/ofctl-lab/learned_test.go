package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

func TestDescribeLearning(t *testing.T) {
	var b strings.Builder
	tt := &tables{w: &b}
	describeLearning(tt, nil)
	if b.Len() != 0 {
		t.Errorf("a port that learns nothing: %q", b.String())
	}
	seen := time.Now().Add(-90*time.Second - 500*time.Millisecond)
	describeLearning(tt, &api.Learning{Count: 2, Limit: 2, Full: true, MACs: []api.LearnedMAC{
		{MAC: "02:00:00:00:00:01", Network: "red/web", VLAN: 10, LastSeen: &seen},
		{MAC: "02:00:00:00:00:02", Network: "red/mgmt", Held: true},
	}})
	for _, want := range []string{"2 of at most 2 source MACs learned: the port is full", "mac-limit", "1m30s ago", "red/web", "a loop"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if got := learnedCount(&api.Learning{Count: 3, Limit: 64}); got != "3/64" {
		t.Errorf("count %q", got)
	}
}
