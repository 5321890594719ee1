package dispatcher

import (
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/culvertio/culvert/dispatcher/internal/batch"
	"github.com/culvertio/culvert/dispatcher/internal/event"
	"github.com/culvertio/culvert/dispatcher/internal/lane"
	"github.com/culvertio/culvert/dispatcher/internal/retry"
	"github.com/culvertio/culvert/dispatcher/invoke"
)

// trigger is one configured trigger with its target: what its lanes in all
// channels share.
type trigger struct {
	Trigger
	target invoke.Target
	format event.Format
	slots  *semaphore.Weighted // of Limit.AtOnce; first come, first served
	policy retry.Policy
}

// newTrigger takes a configuration that is valid.
func newTrigger(config Trigger, target invoke.Target) *trigger {
	format, _ := event.FormatOf(config.Format)
	return &trigger{
		Trigger: config,
		target:  target,
		format:  format,
		slots:   semaphore.NewWeighted(int64(config.Limit.AtOnce)),
		policy:  retry.Policy{First: config.Retry.First, Max: config.Retry.Max},
	}
}

func (t *trigger) limits() lane.Limits {
	return lane.Limits{Records: t.Batch.Records, Bytes: t.Batch.Bytes, Window: t.Batch.Window}
}

// layout is what decides a record's lane and batch. The ledger keeps it, so
// that whoever comes later knows how the batches in flight were made.
func (t *trigger) layout() string {
	return fmt.Sprintf("parallel=%d hash=%d", t.Parallel, batch.LaneHashVersion)
}
