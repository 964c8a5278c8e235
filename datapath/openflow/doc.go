// Package openflow is a session with one bridge over OpenFlow 1.3.
//
// Connect takes an established connection (a bridge that dialled the
// controller, or the management socket of a local one), negotiates the version
// and returns a Conn. A Conn answers what the switch holds (Dump, Ports) and
// makes it hold something else (Commit). It does not reconnect and it remembers
// nothing about flows: a lost connection is replaced by a new Conn, a Dump and a
// Commit of the difference.
//
// A Conn has four goroutines and no more, whatever goes on:
//
//	reader      reads messages in order, answers echo requests, hands replies to
//	            whoever waits for their xid; never waits for anybody
//	writer      writes batches of messages, flushes when it has nothing to write
//	keep-alive  probes a silent peer by echo and ends the session with a dead one
//	dispatcher  calls the callbacks of Options, one at a time
//
// All of them end with the Conn. Everything a peer can make a Conn hold is
// bounded: batches waiting to be written, replies waiting to be read, and
// events waiting for a callback.
package openflow
