// Package qemu runs virtual machines with qemu-system-x86_64: the command line
// of a [guest.Machine], clients of the two protocols by which one speaks to a
// running machine (QMP with qemu, and the guest agent's with what runs inside),
// and the question whether KVM works here.
//
// A machine has a directory of its own, which is qemu's working directory. What
// qemu makes there has fixed names ([MonitorSocket] …), so that the command line
// is the same for every directory and a path may be as long as it likes (a socket's
// address holds 107 bytes, unix(7)). qemu is confined by its own seccomp filter.
//
// Both clients take every byte from the other side for hostile: messages are
// bounded in length, and unknown ones are passed over.
package qemu
