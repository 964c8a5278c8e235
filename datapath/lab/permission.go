package lab

import "context"

// Leave is for a port to be on two hosts while it migrates.
type Leave struct {
	To  string `json:"to"`            // besides where it is
	Was string `json:"was,omitempty"` // what To was before, and is to be again; empty for none
}

// Noting writes down the leave that its caller is about to give, by port. Nothing may
// be given before it has returned nil.
type Noting func(map[string]Leave) error

// note is a Noting.
func (l *instance) note(leave map[string]Leave) error {
	return l.update(func(st *state) {
		for port, given := range leave {
			st.Permitted = with(st.Permitted, port, given)
		}
	})
}

// takeBack has the leave taken back that was given for ports which are not migrated any
// more: at the end of a migration, or later, if its command did not live to see that.
func (l *instance) takeBack(ctx context.Context) error {
	if l.m.TakeBack == nil {
		return nil
	}
	l.mu.Lock()
	over := map[string]Leave{}
	for port, given := range l.st.Permitted {
		if !l.st.migrates(port) {
			over[port] = given
		}
	}
	l.mu.Unlock()
	if len(over) == 0 {
		return nil
	}
	// Also for a command that was interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := l.m.TakeBack(ctx, l.name, over); err != nil {
		return err
	}
	return l.update(func(st *state) {
		for port := range over {
			delete(st.Permitted, port)
		}
	})
}

// migrates reports whether the migration of the port, or of the machine whose it is,
// has begun and not ended.
func (st *state) migrates(port string) bool {
	if _, ok := st.Migrating[port]; ok {
		return true
	}
	v, ok := st.Spec.machinePort(port)
	if ok {
		_, ok = st.HandingOver[v.Name]
	}
	return ok
}
