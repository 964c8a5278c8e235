package netdev

// SetOffloads turns the offloads of dev on, or all of them off. On means as the kernel makes a veth:
// transmit checksums and segmentation. GRO is left as it is there, since a frame of a sender with
// segmentation is large already, and collecting frames on a veth costs a detour through NAPI.
func (ns *Namespace) SetOffloads(dev string, on bool) error {
	if err := CheckInterfaceName(dev); err != nil {
		return ns.wrap("set offloads", "", err)
	}
	mode := OffloadsOff
	if on {
		mode = OffloadsOn
	}
	_, err := ns.setOffloads(dev, mode)
	return err
}
