package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/culvertio/culvert/internal/check"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// Names of the sample table.
const (
	sampleTable  = "orders"
	sampleKey    = "order_id"
	samplePrefix = "sample-" // of the keys of sample orders
)

// samples makes sample orders. The same seed makes the same ones.
type samples struct {
	random    *rand.Rand
	made      int      // orders so far
	open      []string // ids of the rows there are
	gone      []string // ids of deleted ones; some come back
	revisions map[string]int64
}

func newSamples(seed uint64) *samples {
	return &samples{random: rand.New(rand.NewPCG(seed, 0)), revisions: map[string]int64{}}
}

// next draws a change: mostly new orders while there are few, then mostly
// updates, and some deletes.
func (s *samples) next() sample {
	draw := s.random.IntN(10)
	switch {
	case len(s.open) == 0 || draw < 4:
		return s.put()
	case draw < 8:
		return s.update()
	}
	return s.remove()
}

// put places a new order, or a deleted one again.
func (s *samples) put() sample {
	var id string
	if len(s.gone) > 0 && s.random.IntN(3) == 0 {
		i := s.random.IntN(len(s.gone))
		id = s.gone[i]
		s.gone = slices.Delete(s.gone, i, i+1)
	} else {
		s.made++
		id = fmt.Sprintf("%s%05d", samplePrefix, s.made)
	}
	s.open = append(s.open, id)
	customer := []string{"Ada", "Grace", "Jörg", "李雷", "Zoë"}[s.random.IntN(5)]
	items := int64(1 + s.random.IntN(9))
	return s.row(id, check.PutRow, tunnelpb.ActionType_PUT_ROW, []plainbuffer.Cell{
		{Name: []byte("customer"), Value: plainbuffer.StringValue(customer)},
		{Name: []byte("items"), Value: plainbuffer.IntegerValue(items)},
		{Name: []byte("amount"), Value: plainbuffer.DoubleValue(float64(items) * 12.25)},
		{Name: []byte("paid"), Value: plainbuffer.BooleanValue(false)},
	}, map[string]string{"customer": strconv.Quote(customer), "items": strconv.FormatInt(items, 10), "paid": "false"})
}

func (s *samples) update() sample {
	id := s.open[s.random.IntN(len(s.open))]
	return s.row(id, check.UpdateRow, tunnelpb.ActionType_UPDATE_ROW, []plainbuffer.Cell{
		{Name: []byte("paid"), Value: plainbuffer.BooleanValue(true)},
	}, map[string]string{"paid": "true"})
}

func (s *samples) remove() sample {
	i := s.random.IntN(len(s.open))
	id := s.open[i]
	s.open = slices.Delete(s.open, i, i+1)
	s.gone = append(s.gone, id)
	return s.row(id, check.DeleteRow, tunnelpb.ActionType_DELETE_ROW, nil, nil)
}

// row completes a change with its key and, unless it deletes, its revision.
func (s *samples) row(id, kind string, action tunnelpb.ActionType, columns []plainbuffer.Cell, values map[string]string) sample {
	s.revisions[id]++
	revision := s.revisions[id]
	if kind != check.DeleteRow {
		columns = append(columns, plainbuffer.Cell{Name: []byte(check.RevisionColumn), Value: plainbuffer.IntegerValue(revision)})
	}
	return sample{
		change: emulator.Change{Action: action, Row: plainbuffer.Row{
			Key:     []plainbuffer.Cell{{Name: []byte(sampleKey), Value: plainbuffer.StringValue(id)}},
			Columns: columns,
			Deleted: kind == check.DeleteRow,
		}},
		write: check.Write{Key: check.KeyText(sampleKey, strconv.Quote(id)), Kind: kind, Revision: revision, Values: values},
	}
}
