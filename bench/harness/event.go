package harness

// Phase is what a measurement is doing.
type Phase string

// The phases, in the order in which they come. Measuring and Measured take turns.
const (
	SettingUp Phase = "setting up"  // Benchmark.Setup runs; only Benchmark, Rounds are known
	WarmingUp Phase = "warming up"  // Peer is about to run, uncounted
	Measuring Phase = "measuring"   // Peer is about to run
	Measured  Phase = "measured"    // Peer has run, and Sample is what it came to
	Cleaning  Phase = "cleaning up" // Bench.Close runs
	Finished  Phase = "finished"    // the last event, also after a failure
)

// Event tells how far a measurement has come.
type Event struct {
	Benchmark string
	Unit      string // of Sample.Value
	Phase     Phase
	Round     int // from 1; 0 outside of the rounds
	Rounds    int
	Peer      string // the one that runs or has run; empty otherwise
	Role      Role
	Sample    Sample // with Measured
	// Done and Total count the runs of all peers, those of the warm-up among them.
	Done, Total int
	// SoFar is what the samples until now come to; nil while setting up. It takes some
	// milliseconds, and may only be called until the callback returns.
	SoFar func() *Result
}
