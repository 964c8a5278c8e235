package explain

// The verdicts of a Report.
const (
	Forwarded = "forwarded"
	Dropped   = "dropped"
	Unknown   = "unknown"
)

// Report is what becomes of a packet. Its JSON is the output of ofctl-lab trace -o json.
type Report struct {
	Port    string `json:"port"`
	Host    string `json:"host"`
	OFPort  uint32 `json:"ofport"`
	Network string `json:"network,omitempty"` // of the frame, by its tag
	// Source is where the flows are from: "switches", "planned" or "dumps".
	Source string `json:"source"`
	// Packet is the frame in the words of ovs-ofctl.
	Packet string `json:"packet"`
	Frame  string `json:"frame"` // hexadecimal
	// Filled says what of the packet was not given, and why it is as it is.
	Filled []string `json:"filled,omitempty"`
	// Verdict is forwarded, dropped or unknown.
	Verdict string `json:"verdict"`
	// Why says why the verdict is unknown, or why nothing arrives.
	Why        []string   `json:"why,omitempty"`
	Deliveries []Delivery `json:"deliveries"`
	Hop        *Hop       `json:"hop"`
	Live       *Live      `json:"live,omitempty"`
}

// Delivery is a copy that reaches the end of its way.
type Delivery struct {
	Host       string `json:"host"`
	Port       string `json:"port"`
	OFPort     uint32 `json:"ofport"`
	Controller bool   `json:"controller,omitempty"`
	VLAN       uint16 `json:"vlan,omitempty"`
	Frame      string `json:"frame"`
	// Assumes is under which assumptions the copy is made.
	Assumes []string `json:"assumes,omitempty"`
}

// Hop is what happens on one host.
type Hop struct {
	Host     string   `json:"host"`
	From     string   `json:"from,omitempty"` // the host before it
	Packet   string   `json:"packet"`
	Branches []Branch `json:"branches"`
}

// Branch is what happens on a host under some assumptions.
type Branch struct {
	Assumes []string `json:"assumes,omitempty"`
	Verdict string   `json:"verdict"`
	Steps   []Step   `json:"steps"`
	Drop    *Drop    `json:"drop,omitempty"`
	Unknown []string `json:"unknown,omitempty"`
}

// The kinds of Step.
const (
	KindTable       = "table"
	KindActionSet   = "action-set"
	KindGroup       = "group"
	KindBucket      = "bucket"
	KindOutput      = "output"
	KindNote        = "note"
	KindRecirculate = "recirculate"
	KindUnknown     = "unknown"
)

// Step is a line of a trace.
type Step struct {
	Kind string `json:"kind"`
	// Depth is how deep within groups the step is.
	Depth   int      `json:"depth"`
	Text    string   `json:"text,omitempty"` // of what is no table
	Table   uint8    `json:"table"`
	Name    string   `json:"table_name,omitempty"`
	Flow    *Flow    `json:"flow,omitempty"` // nil when no flow takes the packet
	Changes []string `json:"changes,omitempty"`
	Output  *Output  `json:"output,omitempty"`
}

// Flow is a flow with the names of what it was compiled for.
type Flow struct {
	Priority  uint16 `json:"priority"`
	Match     string `json:"match"`
	Actions   string `json:"actions"`
	Ours      bool   `json:"ours"`
	Feature   string `json:"feature,omitempty"`
	Drop      bool   `json:"drop"`
	OwnerKind string `json:"owner_kind,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	Network   string `json:"network,omitempty"`
	Raw       string `json:"raw"`
}

// Output is a copy that leaves a switch.
type Output struct {
	Port   string  `json:"port"`
	OFPort uint32  `json:"ofport"`
	Frame  string  `json:"frame"`
	Tunnel *Tunnel `json:"tunnel,omitempty"`
	// Void says why nothing comes of the copy although a flow makes it.
	Void string `json:"void,omitempty"`
	// Next is what happens behind the tunnel.
	Next *Hop `json:"next,omitempty"`
}

// Tunnel is what a copy has on the wire.
type Tunnel struct {
	Encap  string `json:"encap"`
	Key    uint64 `json:"key"`
	Remote string `json:"remote"`
	Host   string `json:"host,omitempty"` // of Remote
}

// Drop is why no copy leaves a host.
type Drop struct {
	Why     string `json:"why"`
	Table   uint8  `json:"table"`
	Name    string `json:"table_name,omitempty"`
	Flow    *Flow  `json:"flow,omitempty"`
	Meaning string `json:"meaning,omitempty"`
	// Nearest is the flow that would have let the packet pass with the fewest fields
	// other than they are, and Differs those fields.
	Nearest *Flow    `json:"nearest,omitempty"`
	Differs []string `json:"differs,omitempty"`
}

// Live is what the switches counted while the packet was sent.
type Live struct {
	// Rows are the flows that the trace says the packet takes.
	Rows []LiveRow `json:"rows"`
	// Ports are those that the trace says a copy leaves by.
	Ports []LivePort `json:"ports"`
	// Agrees is false where something that was expected did not count.
	Agrees bool `json:"agrees"`
}

// LiveRow is how many packets a flow counted.
type LiveRow struct {
	Host    string `json:"host"`
	Table   uint8  `json:"table"`
	Name    string `json:"table_name,omitempty"`
	Match   string `json:"match"`
	Packets uint64 `json:"packets"`

	raw string // names the counter
}

// LivePort is how many packets a port sent.
type LivePort struct {
	Host    string `json:"host"`
	Port    string `json:"port"`
	OFPort  uint32 `json:"ofport"`
	Packets uint64 `json:"packets"`
	// Uncounted is true where the switch does not count.
	Uncounted bool `json:"uncounted,omitempty"`
}
