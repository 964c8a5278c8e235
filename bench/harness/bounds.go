package harness

// MaxRounds are the most rounds of a result that ReadResult reads.
const MaxRounds = maxRounds
