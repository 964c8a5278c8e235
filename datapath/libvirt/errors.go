package libvirt

import (
	"errors"
	"fmt"
	"strings"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// The errors that callers tell apart.
var (
	ErrNotRunning = errors.New("libvirt does not run here")
	ErrPermission = errors.New("libvirt: no permission")
	ErrNoDomain   = errors.New("libvirt has no such domain")
	ErrExists     = errors.New("libvirt has another one of that name")
	// ErrClosed is that of calls on a connection that was closed or lost, whether a read
	// or a write has found out; the cause, where it is known, is wrapped.
	ErrClosed = errors.New("the connection to libvirt is closed")
	// ErrNoKVM is that of a domain for KVM on a machine whose libvirt has none.
	ErrNoKVM = errors.New("libvirt has no KVM on this machine")
	// ErrStillRuns is that of a domain which did not stop when it was asked to.
	ErrStillRuns = errors.New("it still runs")
	// ErrHasState is that of a domain which has more than its definition.
	ErrHasState = errors.New("it has saved memory, firmware variables, snapshots or checkpoints, which would be lost")
)

// explain says what was tried, and turns go-libvirt's errors, and those of writes, into ours.
func explain(what string, err error) error {
	var e golibvirt.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("libvirt: %s: %w", what, closed.As(ErrClosed, err))
	}
	message := strings.TrimSpace(e.Message)
	switch golibvirt.ErrorNumber(e.Code) {
	case golibvirt.ErrNoDomain:
		return fmt.Errorf("%s: %w: %s", what, ErrNoDomain, message)
	case golibvirt.ErrAuthFailed, golibvirt.ErrAuthCancelled, golibvirt.ErrAuthUnavailable, golibvirt.ErrAccessDenied:
		return fmt.Errorf("%s: %w: %s; run it with sudo, or as a member of the group libvirt", what, ErrPermission, message)
	}
	return fmt.Errorf("libvirt: %s: %s", what, message)
}

// has reports whether err is the daemon's error of that number.
func has(err error, n golibvirt.ErrorNumber) bool {
	var e golibvirt.Error
	return errors.As(err, &e) && golibvirt.ErrorNumber(e.Code) == n
}
