// Package libvirt is a client of the libvirt daemon of this machine: it defines,
// starts, stops and describes domains, and connects a terminal to their console.
//
// It knows domains and networks as XML; what is in them is decided in
// datapath/guest. It does not know what a port is: libvirt's Open vSwitch
// virtualport writes external_ids:iface-id, attached-mac and vm-id when it adds
// a domain's tap device, and removes the port when the domain stops.
//
// # Concurrency
//
// A [Conn] is safe for concurrent use: libvirt numbers its calls, and answers them
// in any order. Every call ends with its context, or after a bound of its own.
// There is no way to take back a call, so one that is given up closes the
// connection, and the other calls on it fail with [ErrClosed]; what the daemon does
// with the call that it has is not known then, and the error says so.
//
// # What go-libvirt does not do
//
// Only this package imports github.com/digitalocean/go-libvirt. As of
// v0.0.0-20261013170128-efbbdf578ac8, read in its source and, where a test is named,
// seen:
//
//   - No call has a context. A daemon that accepts and says nothing holds Connect for
//     ever (TestDaemonThatSaysNothing), and Disconnect asks the daemon first, so that it
//     does too: here the socket is closed under it.
//   - A packet whose length is less than its header's 28 bytes is a negative size to
//     make, which panics in a goroutine that nobody can recover, and one of 4 GiB is
//     allocated (TestHostilePackets). The socket is therefore wrapped, and refuses both.
//   - Answers are handed over on an unbuffered channel under the lock that the end of a
//     call needs. The writer of a stream that returns an error while more data is
//     under way locks up the whole connection: a console has a connection of its own,
//     and its writer takes everything.
//   - DomainOpenConsole reads only. What is typed is sent as stream packets with the
//     serial number of the call, which the wrapped socket has seen.
//   - Connect sets the channel of Disconnected, without a lock, after it has started
//     the goroutine that closes it: the race detector says so whenever a daemon ends, and
//     one that ends in between leaves a connection that is connected for ever. The
//     wrapped socket holds its end back until Connect is through.
//   - An error of the daemon with code 0 is success to it, with nothing in the answer.
package libvirt
