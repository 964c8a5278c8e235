package qemu

import (
	"fmt"
	"testing"
)

// qemu 7.2 says "completed", and sends its event, a moment before it has counted
// how long it took.
func TestMigrationIsCounted(t *testing.T) {
	ctx := testCtx(t)
	asked := 0
	q, err := NewQMP(ctx, peer(t, greeting, func(_ string, id uint64) string {
		if asked++; asked < 3 {
			return fmt.Sprintf("{\"event\":\"MIGRATION\"}\n{\"return\":{\"status\":\"completed\",\"ram\":{\"transferred\":7}},\"id\":%d}\n", id)
		}
		return fmt.Sprintf("{\"return\":{\"status\":\"completed\",\"total-time\":300,\"downtime\":20,\"ram\":{\"transferred\":7}},\"id\":%d}\n", id)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	asked = 0 // what a session begins with
	info, err := q.awaitMigration(ctx)
	if err != nil || info.TotalTime != 300 || info.Downtime != 20 {
		t.Errorf("%+v, %v", info, err)
	}
}
