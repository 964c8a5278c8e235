// Package suite holds the benchmarks, one file each, and in All a line for each.
package suite

import (
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// All are the benchmarks, in the order in which they are reported.
func All() []harness.Benchmark {
	return []harness.Benchmark{Apply(), Configure(), PlugFirstPing(), PlugFirstPingLocal(), FlowsPerPort(), ThroughputTCP(), ThroughputUDP(),
		MigrationGap(), TapFirstPing(), FirstPacket(), ConnectionRate(), DatapathFlows(), ARPCopies(), FlowProgramming(),
		PacketInLatency(), PacketInRate(), Verify(), Interpreter()}
}
