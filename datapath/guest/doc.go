// Package guest says what a virtual machine is made of, in terms that libvirt
// and qemu share, and writes it as libvirt's XML. It neither starts nor stops anything,
// and all of it is pure.
package guest
