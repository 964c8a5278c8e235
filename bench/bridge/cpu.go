package bridge

import (
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

// CPUTime is proc.CPUTime.
func CPUTime(pid int) (time.Duration, error) { return proc.CPUTime(pid) }
