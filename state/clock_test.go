package state_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/state"
)

func TestAWaitEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := state.OpenEmbedded(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		q := state.AttachRequest{Channel: state.Channel{Tunnel: "t", Channel: "c"}, Nonce: "n"}
		lane := state.Lane{Trigger: "x"}
		attach := func() state.Attachment {
			t.Helper()
			a, err := r.Attach(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		begin := func(o state.Owner, b state.Batch, want time.Duration) {
			t.Helper()
			began, err := r.Begin(t.Context(), o, lane, b)
			if err != nil {
				t.Fatal(err)
			}
			if began.Wait != want {
				t.Errorf("%s waits %v, want %v", b.ID, began.Wait, want)
			}
		}
		first := attach().Owner
		begin(first, state.Batch{ID: "1", Attempt: 1, Timeout: time.Minute}, 0)
		time.Sleep(10 * time.Second)
		// The same attempt again may start only now: its deadline is later.
		begin(first, state.Batch{ID: "1", Attempt: 1, Timeout: time.Minute}, 0)

		time.Sleep(20*time.Second + 400*time.Microsecond)
		found := attach()
		if got := found.Lanes[0].Wait; got != 40*time.Second {
			t.Errorf("the next owner has to wait %v, want 40s", got)
		}
		begin(found.Owner, state.Batch{ID: "2", Attempt: 1, Timeout: time.Second}, 40*time.Second)
		time.Sleep(39 * time.Second)
		begin(found.Owner, state.Batch{ID: "2", Attempt: 1, Timeout: time.Second}, time.Second)
		time.Sleep(time.Second)
		begin(found.Owner, state.Batch{ID: "2", Attempt: 1, Timeout: time.Second}, 0)
		time.Sleep(time.Second)
		found = attach()
		if got := found.Lanes[0].Wait; got != 0 {
			t.Errorf("the last owner has to wait %v", got)
		}
		begin(found.Owner, state.Batch{ID: "3"}, 0)
	})
}

func TestAChannelIsForgottenEightDaysAfterTheLastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := state.OpenEmbedded(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		a, err := r.Attach(t.Context(), state.AttachRequest{Channel: state.Channel{Tunnel: "t", Channel: "c"}, Nonce: "n"})
		if err != nil {
			t.Fatal(err)
		}
		lane := state.Lane{Trigger: "x"}
		writes := map[string]func() error{
			"begin": func() error {
				_, err := r.Begin(t.Context(), a.Owner, lane, state.Batch{ID: "1"})
				return err
			},
			"settle": func() error {
				return r.Settle(t.Context(), a.Owner, state.Settlement{Lane: lane, BatchID: "1"})
			},
			"trim": func() error { return r.Trim(t.Context(), a.Owner, map[state.Lane]state.Mark{lane: {}}) },
		}
		for name, write := range writes {
			time.Sleep(8*24*time.Hour - time.Minute)
			if err := write(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(8*24*time.Hour - time.Minute)
		if err := r.Release(t.Context(), a.Owner, false); err != nil {
			t.Error(err)
		}
		time.Sleep(8*24*time.Hour - time.Minute)
		if err := writes["trim"](); !errors.Is(err, state.ErrForeign) {
			t.Errorf("a minute before: %v, want %v", err, state.ErrForeign)
		}
		time.Sleep(2 * time.Minute)
		if err := writes["trim"](); !errors.Is(err, state.ErrAbsent) {
			t.Errorf("a minute after: %v, want %v", err, state.ErrAbsent)
		}
	})
}
