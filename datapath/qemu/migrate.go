package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// migrationFile is the name of the migration's connection in qemu.
	migrationFile = "migration"
	// cancelTimeout bounds taking back a migration.
	cancelTimeout = 10 * time.Second
	// migrationPoll is between two looks at a migration, should an event be lost.
	migrationPoll = 200 * time.Millisecond
	// countPoll is between two looks at one that is complete and not yet counted.
	countPoll = 5 * time.Millisecond
	// migrationBandwidth is how fast memory is copied at most, in bytes per second:
	// from one process of a machine to another, as fast as it goes. It also decides
	// when the guest is stopped for the rest.
	migrationBandwidth = 10 << 30
	// migrationDowntime is how long the guest may be stopped for the rest, in
	// milliseconds, as qemu estimates it. One that writes its memory faster than
	// that lets it be copied is slowed down (auto-converge).
	migrationDowntime = 50
)

// Migration is what qemu says of a live migration that is complete.
type Migration struct {
	// Downtime is how long the guest ran on neither side, and Total how long all
	// of it took.
	Downtime, Total time.Duration
	// Transferred is how much was copied, in bytes.
	Transferred int64
}

// migrationInfo is the result of query-migrate: times in milliseconds.
type migrationInfo struct {
	Status    string `json:"status"`
	Desc      string `json:"error-desc"`
	Downtime  int64  `json:"downtime"`
	TotalTime int64  `json:"total-time"`
	RAM       struct {
		Transferred int64 `json:"transferred"`
	} `json:"ram"`
}

// Migrate migrates the running machine in the directory from, live, to the qemu that
// waits for it in the directory to (see [Options.Incoming]). When it returns nil
// the guest runs there, and the qemu it comes from has it stopped. On an error,
// also that of ctx, the guest runs where it was, unless the error says otherwise.
func Migrate(ctx context.Context, from, to string) (Migration, error) {
	q, err := DialQMP(ctx, from, MonitorSocket)
	if err != nil {
		return Migration{}, err
	}
	defer q.Close()
	if err := q.startMigration(ctx, to); err != nil {
		return Migration{}, err
	}
	info, err := q.awaitMigration(ctx)
	if err != nil {
		// What is under way goes on in qemu, whatever becomes of us.
		uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
		defer cancel()
		return Migration{}, errors.Join(err, q.takeBack(uctx))
	}
	return Migration{
		Downtime:    time.Duration(info.Downtime) * time.Millisecond,
		Total:       time.Duration(info.TotalTime) * time.Millisecond,
		Transferred: info.RAM.Transferred,
	}, nil
}

func (q *QMP) startMigration(ctx context.Context, to string) error {
	conn, err := dial(ctx, to, IncomingSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := q.PassFile(ctx, migrationFile, f); err != nil {
		return err
	}
	type capability struct {
		Name  string `json:"capability"`
		State bool   `json:"state"`
	}
	if err := q.Execute(ctx, "migrate-set-capabilities", map[string][]capability{"capabilities": {{"events", true}, {"auto-converge", true}}}, nil); err != nil {
		return err
	}
	if err := q.Execute(ctx, "migrate-set-parameters", map[string]int64{"max-bandwidth": migrationBandwidth, "downtime-limit": migrationDowntime}, nil); err != nil {
		return err
	}
	return q.Execute(ctx, "migrate", map[string]string{"uri": "fd:" + migrationFile}, nil)
}

// awaitMigration waits for the migration's end.
func (q *QMP) awaitMigration(ctx context.Context) (migrationInfo, error) {
	tick := time.NewTicker(migrationPoll)
	defer tick.Stop()
	for {
		var info migrationInfo
		if err := q.Execute(ctx, "query-migrate", nil, &info); err != nil {
			return info, err
		}
		switch info.Status {
		case "completed":
			// qemu says so, and sends its event, before it has counted the times.
			if info.TotalTime > 0 {
				return info, nil
			}
			tick.Reset(countPoll)
		case "failed", "cancelled":
			return info, fmt.Errorf("qemu's migration has %s: %s", info.Status, clip([]byte(info.Desc)))
		}
		select {
		case <-ctx.Done():
			return info, fmt.Errorf("the migration is not complete (%s, %d MiB copied): %w", clip([]byte(info.Status)), info.RAM.Transferred>>20, ctx.Err())
		case _, ok := <-q.Events():
			if !ok {
				return info, errors.New("qemu ended while it migrated")
			}
		case <-tick.C:
		}
	}
}

// takeBack ends a migration that did not come to its end, so that the guest runs
// on here.
func (q *QMP) takeBack(ctx context.Context) error {
	if err := q.Execute(ctx, "migrate_cancel", nil, nil); err != nil {
		return fmt.Errorf("and it could not be taken back: %w", err)
	}
	if _, err := q.awaitMigration(ctx); err == nil {
		return errors.New("and it was complete by then: the guest is on the other side")
	}
	return q.resume(ctx)
}

// resume makes the guest run if it does not.
func (q *QMP) resume(ctx context.Context) error {
	var status struct {
		Running bool   `json:"running"`
		Status  string `json:"status"`
	}
	if err := q.Execute(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if status.Running {
		return nil
	}
	if err := q.Execute(ctx, "cont", nil, nil); err != nil {
		return fmt.Errorf("the guest is %s and does not go on: %w", clip([]byte(status.Status)), err)
	}
	return nil
}

// Resume makes the machine in dir run on after a migration whose other side came
// to nothing. The caller has made sure that nothing is left of that.
func Resume(ctx context.Context, dir string) error {
	q, err := DialQMP(ctx, dir, MonitorSocket)
	if err != nil {
		return err
	}
	defer q.Close()
	return q.resume(ctx)
}
