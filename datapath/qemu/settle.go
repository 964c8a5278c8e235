package qemu

import (
	"context"
)

// Settle ends whatever migration of the machine in dir somebody has begun and left,
// and reports whether its guest has gone to the other side. If not, the guest runs
// on here. A migration that is under way is taken back, unless it comes to its end
// before that.
func Settle(ctx context.Context, dir string) (gone bool, err error) {
	q, err := DialQMP(ctx, dir, MonitorSocket)
	if err != nil {
		return false, err
	}
	defer q.Close()
	var info migrationInfo
	if err := q.Execute(ctx, "query-migrate", nil, &info); err != nil {
		return false, err
	}
	switch info.Status {
	case "", "none", "completed", "failed", "cancelled":
	default:
		if err := q.Execute(ctx, "migrate_cancel", nil, nil); err != nil {
			return false, err
		}
		// How it ends is seen by where the guest is.
		if _, err := q.awaitMigration(ctx); ctx.Err() != nil {
			return false, err
		}
	}
	// A migration may be complete, and the guest be back since: its own state is the truth.
	var status struct{ Status string }
	if err := q.Execute(ctx, "query-status", nil, &status); err != nil {
		return false, err
	}
	if status.Status == "postmigrate" {
		return true, nil
	}
	return false, q.resume(ctx)
}
