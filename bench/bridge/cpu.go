package bridge

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPUTime is the user and system time that the process pid has used, in steps of 10 ms.
func CPUTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time: %w", err)
	}
	// Fields after the command, which is in parentheses: utime and stime are the
	// 14th and 15th of all (proc(5)), in ticks of 1/100 s on every Linux architecture Go runs on.
	i := strings.LastIndex(string(text), ") ")
	fields := strings.Fields(string(text[i+1:]))
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("CPU time: %q is no process status", text)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
