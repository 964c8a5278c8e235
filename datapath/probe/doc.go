// Package probe finds out what the Open vSwitch of this machine does on a datapath. It asks the switch
// that runs, on a bridge that exists, and changes nothing there (Ask). And it tries, with packets, on an
// Open vSwitch of its own (Try): a namespace, a database and a daemon that nobody else sees, with the
// kernel and the programs of this machine. What a datapath says of itself is not always what it does.
//
// What is looked for is data: Features has a row for each, with the service that needs it, the question and the
// trial. A Report holds the answers; docs/reference/datapaths.md is written from those that are committed.
package probe
