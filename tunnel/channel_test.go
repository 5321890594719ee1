package tunnel_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertio/culvert/tunnel"
)

const (
	getCheckpoint = "/tunnel/getcheckpoint"
	commit        = "/tunnel/checkpoint"
	readRecords   = "/tunnel/readrecords"
)

// onChannel runs work as the consumer of the channel "a", whose checkpoint is
// ("start", 7).
func onChannel(t *testing.T, work func(ctx context.Context, s *service, ch *tunnel.Channel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, client := newService(t)
		s.checkpoints["a"] = checkpoint{token: "start", sequence: 7}
		s.lists(open("a", 1))
		worked := make(chan struct{})
		j := begin(t, client, newConsumer(t, func(ctx context.Context, ch *tunnel.Channel) (tunnel.End, error) {
			work(ctx, s, ch)
			close(worked)
			return drains(0)(ctx, ch)
		}))
		<-worked
		j.end()
	})
}

func (s *service) checkpoint(id string) checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoints[id]
}

func TestCommitsContinueTheNumberOfTheCheckpoint(t *testing.T) {
	onChannel(t, func(ctx context.Context, s *service, ch *tunnel.Channel) {
		if token, err := ch.GetCheckpoint(ctx); token != "start" || err != nil {
			t.Fatalf("GetCheckpoint: %q, %v", token, err)
		}
		for i, token := range []string{"one", "two", tunnel.Finished} {
			if err := ch.Commit(ctx, token); err != nil {
				t.Fatal(err)
			}
			if got, want := s.checkpoint("a"), (checkpoint{token, int64(8 + i)}); got != want {
				t.Errorf("the service keeps %+v, want %+v", got, want)
			}
		}
	})
}

func TestACommitBeforeTheCheckpointIsReadIsRefused(t *testing.T) {
	onChannel(t, func(ctx context.Context, s *service, ch *tunnel.Channel) {
		if err := ch.Commit(ctx, "one"); err == nil || errors.Is(err, tunnel.ErrTakenOver) {
			t.Errorf("Commit: %v", err)
		}
		if n := len(s.calls(commit)); n > 0 {
			t.Errorf("%d commits were sent", n)
		}
	})
}

func TestCommit(t *testing.T) {
	for _, tt := range []struct {
		name      string
		faults    []fault // of the first commits
		checks    []fault // of the GetCheckpoint calls after the first
		takenOver bool
		failed    bool // the first commit fails otherwise
		kept      checkpoint
	}{
		{
			name:   "an answer that was lost",
			faults: []fault{{cut: true}},
			kept:   checkpoint{"one", 8},
		},
		{
			name:   "a failure of the server that did not commit",
			faults: []fault{{code: tunnel.CodeServerUnavailable}},
			kept:   checkpoint{"one", 8},
		},
		{
			name:      "another client committed meanwhile",
			faults:    []fault{{takeOver: &checkpoint{"theirs", 8}}},
			takenOver: true,
			kept:      checkpoint{"theirs", 8},
		},
		{
			name:      "another client committed our token under another number",
			faults:    []fault{{takeOver: &checkpoint{"one", 9}}},
			takenOver: true,
			kept:      checkpoint{"one", 9},
		},
		{
			name:      "another client committed, and our answer was lost",
			faults:    []fault{{takeOver: &checkpoint{"theirs", 8}, cut: true}},
			takenOver: true,
			kept:      checkpoint{"theirs", 8},
		},
		{
			name:      "a number is refused that the service's own checkpoint calls for",
			faults:    []fault{{code: tunnel.CodeSequenceNumberNotMatch}},
			takenOver: true,
			kept:      checkpoint{"start", 7},
		},
		{
			name:      "the client is gone",
			faults:    []fault{{code: tunnel.CodeResourceGone}},
			takenOver: true,
			kept:      checkpoint{"start", 7},
		},
		{
			name:      "the client is gone when the lost answer is asked about",
			faults:    []fault{{cut: true}},
			checks:    []fault{{code: tunnel.CodeResourceGone}},
			takenOver: true,
			kept:      checkpoint{"one", 8},
		},
		{
			name:   "a refusal that tells nothing of the owner",
			faults: []fault{{code: tunnel.CodeParameterInvalid}},
			failed: true,
			kept:   checkpoint{"start", 7},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onChannel(t, func(ctx context.Context, s *service, ch *tunnel.Channel) {
				if _, err := ch.GetCheckpoint(ctx); err != nil {
					t.Fatal(err)
				}
				s.fails(commit, tt.faults...)
				s.fails(getCheckpoint, tt.checks...)
				err := ch.Commit(ctx, "one")
				if (err != nil) != (tt.takenOver || tt.failed) || errors.Is(err, tunnel.ErrTakenOver) != tt.takenOver {
					t.Errorf("Commit: %v", err)
				}
				if got := s.checkpoint("a"); got != tt.kept {
					t.Errorf("the service keeps %+v, want %+v", got, tt.kept)
				}
				if err != nil {
					return
				}
				if err := ch.Commit(ctx, "two"); err != nil || s.checkpoint("a") != (checkpoint{"two", 9}) {
					t.Errorf("the next commit: %v, %+v", err, s.checkpoint("a"))
				}
			})
		})
	}
}

// A commit of which nobody can tell what became of it does not cost the
// channel: the next one finds out first.
func TestACommitInDoubtIsFoundOutByTheNext(t *testing.T) {
	for _, tt := range []struct {
		name     string
		first    fault
		takeOver bool
		next     string
		commits  int // calls of Checkpoint, the doubtful one included
		kept     checkpoint
	}{
		{"it arrived", fault{cut: true}, false, "two", 2, checkpoint{"two", 9}},
		{"it arrived, and the same token is committed", fault{cut: true}, false, "one", 1, checkpoint{"one", 8}},
		{"it did not arrive", fault{slow: time.Hour}, false, "two", 2, checkpoint{"two", 8}},
		{"the channel was taken over", fault{cut: true}, true, "two", 1, checkpoint{"theirs", 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onChannel(t, func(ctx context.Context, s *service, ch *tunnel.Channel) {
				if _, err := ch.GetCheckpoint(ctx); err != nil {
					t.Fatal(err)
				}
				s.fails(commit, tt.first)
				s.fails(getCheckpoint, slices.Repeat([]fault{{code: tunnel.CodeServerUnavailable}}, 1000)...)
				err := ch.Commit(ctx, "one")
				if err == nil || errors.Is(err, tunnel.ErrTakenOver) {
					t.Fatalf("the doubtful commit: %v", err)
				}
				s.heals(getCheckpoint)
				if tt.takeOver {
					s.mu.Lock()
					s.checkpoints["a"] = checkpoint{"theirs", 9}
					s.mu.Unlock()
				}
				err = ch.Commit(ctx, tt.next)
				if (err != nil) != tt.takeOver || errors.Is(err, tunnel.ErrTakenOver) != tt.takeOver {
					t.Errorf("the next commit: %v", err)
				}
				if got := s.checkpoint("a"); got != tt.kept {
					t.Errorf("the service keeps %+v, want %+v", got, tt.kept)
				}
				// An hour-long call is seen only when it is given up.
				if n := len(s.calls(commit)); n != tt.commits && tt.first.slow == 0 {
					t.Errorf("%d commits were sent, want %d", n, tt.commits)
				}
			})
		})
	}
}

func TestAReadByAClientThatIsGoneSaysTakenOver(t *testing.T) {
	onChannel(t, func(ctx context.Context, s *service, ch *tunnel.Channel) {
		page, err := ch.Read(ctx, "start")
		if err != nil || page.NextToken != "next" {
			t.Fatalf("Read: %+v, %v", page, err)
		}
		s.fails(readRecords, fault{code: tunnel.CodeResourceGone})
		_, err = ch.Read(ctx, "start")
		if !errors.Is(err, tunnel.ErrTakenOver) || !errors.Is(err, tunnel.CodeResourceGone) {
			t.Errorf("Read: %v", err)
		}
	})
}
