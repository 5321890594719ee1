package invoke

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestClosingWaitsForTheAttemptsThatItCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a attempts
		if !a.begin() {
			t.Fatal("nothing begins")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		aborted, closed := make(chan struct{}), make(chan error, 1)
		go func() { closed <- a.close(ctx, func() { close(aborted) }) }()
		<-aborted
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("closed while an attempt was under way")
		}
		a.end()
		if err := <-closed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
