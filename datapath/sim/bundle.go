package sim

import "github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"

func bundleError(t uint16) *ofp13.Error {
	return &ofp13.Error{Type: ofp13.ErrExperimenter, Experimenter: ofp13.ONFExperimenter, Code: t}
}

// bundleControl opens, closes, commits or discards a bundle.
func (ses *session) bundleControl(h ofp13.Header, b []byte) ([]byte, *ofp13.Error) {
	c, err := ofp13.DecodeBundleControl(b)
	if err != nil {
		return nil, refuse(ofp13.ErrBadRequest, 6)
	}
	bun := ses.bundles[c.BundleID]
	switch c.Command {
	case ofp13.BundleOpen:
		if bun != nil {
			delete(ses.bundles, c.BundleID)
			return nil, bundleError(ofp13.BundleBadID)
		}
		ses.bundles[c.BundleID] = &bundle{flags: c.Flags}
	case ofp13.BundleClose:
		switch {
		case bun == nil:
			return nil, bundleError(ofp13.BundleBadID)
		case bun.closed:
			delete(ses.bundles, c.BundleID)
			return nil, bundleError(ofp13.BundleClosed)
		case bun.flags != c.Flags:
			delete(ses.bundles, c.BundleID)
			return nil, bundleError(ofp13.BundleBadFlags)
		}
		bun.closed = true
	case ofp13.BundleDiscard:
		if bun == nil {
			return nil, bundleError(ofp13.BundleBadID)
		}
		delete(ses.bundles, c.BundleID)
	case ofp13.BundleCommit:
		if bun == nil {
			return nil, bundleError(ofp13.BundleBadID)
		}
		delete(ses.bundles, c.BundleID)
		if bun.flags != c.Flags {
			return nil, bundleError(ofp13.BundleBadFlags)
		}
		if e := ses.commit(bun); e != nil {
			return nil, e
		}
	default:
		return nil, bundleError(ofp13.BundleBadType)
	}
	return orBadLen(ofp13.AppendBundleControl(nil, h.XID, ofp13.BundleControl{
		BundleID: c.BundleID, Command: c.Command + 1, Flags: c.Flags,
	}))
}

// commit does all of a bundle or nothing.
func (ses *session) commit(bun *bundle) *ofp13.Error {
	next := ses.sw.store.clone()
	for _, m := range bun.messages {
		if e := m.do(next); e != nil {
			ses.sendError(e, m.bytes)
			return bundleError(ofp13.BundleMsgFailed)
		}
	}
	ses.sw.store = next
	ses.sw.changed()
	ses.sw.counts.Bundles++
	return nil
}

// bundleAdd puts a message into a bundle, opening it if need be.
func (ses *session) bundleAdd(b []byte) *ofp13.Error {
	m, err := ofp13.DecodeBundleAdd(b)
	if err != nil {
		return bundleError(ofp13.BundleMsgBadXID)
	}
	if t := ofp13.MsgType(m.Message[1]); t != ofp13.TypeFlowMod && t != ofp13.TypeGroupMod {
		return bundleError(ofp13.BundleMsgUnsup)
	}
	if ses.role == ofp13.RoleSlave {
		return refuse(ofp13.ErrBadRequest, 10)
	}
	if e := ses.sw.count(m.Message); e != nil {
		return e
	}
	do, e := prepare(m.Message)
	if e != nil {
		return e
	}
	bun := ses.bundles[m.BundleID]
	switch {
	case bun == nil:
		bun = &bundle{flags: m.Flags}
		ses.bundles[m.BundleID] = bun
	case bun.closed:
		delete(ses.bundles, m.BundleID)
		return bundleError(ofp13.BundleClosed)
	case bun.flags != m.Flags:
		delete(ses.bundles, m.BundleID)
		return bundleError(ofp13.BundleBadFlags)
	}
	bun.messages = append(bun.messages, bundled{do, m.Message})
	return nil
}
