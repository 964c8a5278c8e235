// Package netdev works on the kernel's network devices: network namespaces,
// veth pairs, taps, bridges, 802.1Q sub-interfaces, addresses, offloads, and raw
// frames in and out of an interface.
//
// Everything goes by netlink, ioctl and /proc/sys; no program is run. A
// [Namespace] is a handle through which all operations on its devices go, so
// that the calling goroutine never changes namespace itself. The few operations
// for which the kernel knows no other way than the calling thread's namespace
// (creating a namespace, a tap, a sysctl, a socket, a process) run on a thread
// of their own, see [Namespace.Do].
//
// [Namespace.Configure] and the Ensure functions state how a device shall be,
// change only what differs, and return what they changed: running one twice
// returns nothing the second time.
//
// [Attach] and [Detach] connect a namespace or a tap on a real host to the
// integration bridge, and [Restore] does so again after a reboot, from what
// [Attachment.Record] has written down.
//
// Names of interfaces and namespaces are checked before the kernel or the file
// system sees them ([CheckInterfaceName], [CheckNamespaceName]). Errors say
// which namespace and device they are about. A Namespace and a [PacketConn] may
// be used by several goroutines at once.
package netdev
