package trace

import "github.com/ofctl-lab/ofctl-lab/flows"

// SetOrder is the list of actions that Open vSwitch does in place of a group's bucket
// or an action set: it reorders them, and leaves out what has no effect (OpenFlow 1.3.5
// section 5.10). as is not changed.
func SetOrder(as []flows.Action) []flows.Action { return setOrder(as) }
