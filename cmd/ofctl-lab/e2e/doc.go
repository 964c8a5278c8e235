// Package e2e has no code but its tests: packets through the whole of ofctl-lab.
//
// Each test writes a topology, brings it up as a lab with the real ofctl-lab
// binary on real Open vSwitch, sends raw frames from its guests and looks at what
// arrives at other guests and at what the underlay carries meanwhile.
//
// Absence is proven, not waited for: captures are opened before anything is sent,
// and after the frames that must not arrive come frames that must, over the same
// path. When those have arrived, and no frame waits for ovs-vswitchd any more, the capture is
// complete (see guest.flush and testLab.settle in the tests). A security test also shows that
// it could fail: with the flow that
// defends overridden by a foreign one, the same frames must arrive.
//
// The tests need root and the Debian packages openvswitch-switch and iputils-ping,
// those of guests under libvirt also libvirt-daemon, qemu-system-x86 and what make
// guest-image builds. Without them they skip, and with CI=true in the environment
// they fail. They run on the kernel's datapath where there is one, else on the userspace
// one. If OFCTL_LAB_E2E_BINARY names a program, that is the ofctl-lab that is tested, and
// none is built.
package e2e
