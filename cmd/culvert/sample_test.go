package main

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/culvertio/culvert/internal/check"
)

func TestSamplesAreAHistoryThatAStoreCouldHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		s, again := newSamples(seed), newSamples(seed)
		rows, revisions := map[string]bool{}, map[string]int64{}
		for range 300 {
			next := s.next()
			if !reflect.DeepEqual(next, again.next()) {
				t.Fatal("the same seed made another order")
			}
			w := next.write
			if exists := w.Kind != check.PutRow; rows[w.Key] != exists {
				t.Fatalf("%+v where the row's being there is %v", w, rows[w.Key])
			}
			if w.Revision != revisions[w.Key]+1 {
				t.Fatalf("%+v after revision %d", w, revisions[w.Key])
			}
			rows[w.Key], revisions[w.Key] = w.Kind != check.DeleteRow, w.Revision
		}
	})
}
