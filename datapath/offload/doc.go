// Package offload finds out what a datapath does with frames whose sender leaves
// checksum and segmentation to its device, by sending some.
//
// A sender behind a veth pair hands over frames with unfinished checksums, and
// segments of up to 64 KiB, unless its offloads are off. The kernel's datapath
// carries the note of it along and finishes a frame where it has to; the
// userspace datapath of Open vSwitch 3.1 passes on the bytes alone, so that TCP
// and UDP arrive with wrong checksums. Off costs a multiple in throughput, on a
// datapath that cannot take it all connections.
//
// [Try] decides for attach, for labs and their migrations, and for doctor. It
// touches no bridge of the host: it runs an Open vSwitch of its own, in network,
// mount and process namespaces without names, which the kernel takes away with
// the process, also when that is killed.
package offload
