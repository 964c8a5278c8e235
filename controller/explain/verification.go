package explain

// The verdicts of a Verification.
const (
	Isolated  = "isolated"  // all properties hold for all packets
	Violated  = "violated"  // some packet breaks one
	Undecided = "undecided" // none was seen to, and not all is proved
)

// Verification is what was proved of the flows of an overlay. Its JSON is the output of
// ofctl-lab verify -o json.
type Verification struct {
	Verdict string `json:"verdict"` // isolated, violated or undecided
	// Source is where the flows are from: "switches", "planned" or "dumps".
	Source string `json:"source"`
	// Revision is that of the overlay, 0 for dumps.
	Revision uint64 `json:"revision,omitempty"`
	// Hosts are those whose flows were judged.
	Hosts    []string `json:"hosts"`
	Tenants  int      `json:"tenants"`
	Networks int      `json:"networks"`
	Ports    int      `json:"ports"` // declared, and on one of Hosts
	Flows    int      `json:"flows"`
	Groups   int      `json:"groups"`
	// Ingresses are the ways into the switches that packets were followed from: each VLAN
	// of each port and each key of each tunnel, and for each of them all others.
	Ingresses int `json:"ingresses"`
	// Classes are the sets of packets that were told apart, each taken by one flow of one table.
	Classes int `json:"classes"`
	// Refuted are suspicions for which there turned out to be no packet.
	Refuted int `json:"refuted"`
	// Milliseconds is how long the proof took; reading the flows is not in it.
	Milliseconds float64 `json:"milliseconds"`
	// Properties say what was looked into, and whether it holds.
	Properties []Property  `json:"properties"`
	Violations []Violation `json:"violations"`
	Doubts     []Doubt     `json:"doubts"`
	// Trusts says what the proof takes for granted beside what was declared.
	Trusts []string `json:"trusts,omitempty"`
}

// Property is something that is to hold for all packets.
type Property struct {
	Name  string `json:"name"`
	Means string `json:"means"`
	// Verdict is holds, violated or undecided.
	Verdict string `json:"verdict"`
}

// Holds is the verdict of a property that was proved.
const Holds = "holds"

// Violation is a packet that does what none may.
type Violation struct {
	Property string `json:"property"`
	Host     string `json:"host,omitempty"`
	// From is the port that the packet comes in by, and as which VLAN or key.
	From string `json:"from,omitempty"`
	What string `json:"what"`
	// Flow is the flow to blame; it is missing, as are the others, where the declarations
	// contradict each other.
	Flow   *Flow  `json:"flow,omitempty"`
	Table  string `json:"table_name,omitempty"` // of Flow
	Packet string `json:"packet,omitempty"`
	Frame  string `json:"frame,omitempty"` // hexadecimal
	Trace  *Hop   `json:"trace,omitempty"`
}

// Doubt is something that could not be decided, and what to do about it if that is known.
type Doubt struct {
	Host string `json:"host,omitempty"`
	Why  string `json:"why"`
}
