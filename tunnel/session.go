package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stuck is after how long the log tells of runs that were stopped and have not
// returned, and how often; and how often it tells of channels that do not come.
const stuck = 30 * time.Second

// session is one connected client: its heartbeats and its runs. All of it
// belongs to the goroutine of serve. Two kinds of goroutines stand beside
// that one and only ever send to it: a run for each channel at work, and at
// most one heartbeat.
type session struct {
	worker   *Worker
	clientID string
	log      *slog.Logger
	machine  *machine

	runs     map[string]*run
	ends     chan runEnd
	running  sync.WaitGroup
	runsBase context.Context // of every run's context; outlives the soft stop

	complaints *time.Ticker // about runs that have not returned, and channels that do not come

	beating    bool // a heartbeat is under way
	answers    chan answer
	hangUp     context.CancelFunc // ends the heartbeat under way
	heardAt    time.Time          // when the newest heartbeat that was answered began
	nextBeat   time.Time          // the regular one
	notBefore  time.Time          // the gap's end
	early      bool               // a heartbeat is wanted before nextBeat
	heard      bool               // some heartbeat was answered
	waiting    bool               // no heartbeat named a channel, and the log has not said the last of it
	connected  time.Time          // when Connect began
	lastFailed error              // why heartbeats fail at present
}

// run is one Consume under way.
type run struct {
	channel   *Channel
	cancel    context.CancelFunc
	stoppedAt time.Time // when cancel was called; zero: it was not
}

// runEnd is how a run ended.
type runEnd struct {
	channel string
	end     End
	err     error
}

// answer is what came of a heartbeat.
type answer struct {
	began    time.Time
	channels []HeartbeatChannel
	err      error
}

// newSession is for a client whose Connect began at connected.
func newSession(w *Worker, clientID string, log *slog.Logger, connected time.Time) *session {
	return &session{
		worker:   w,
		clientID: clientID,
		log:      log,
		machine: newMachine(rules{
			interval: w.cfg.HeartbeatInterval,
			gap:      w.cfg.HeartbeatGap,
			drain:    w.cfg.DrainLimit,
		}),
		runs:    make(map[string]*run),
		ends:    make(chan runEnd),
		answers: make(chan answer, 1),
		heardAt: connected,

		connected: connected,
	}
}

// serve runs the session until the client is gone, with the error that says
// why, or until a soft stop is complete, with nil. Every run has returned.
func (s *session) serve(ctx context.Context) error {
	s.runsBase = context.WithoutCancel(ctx)
	defer s.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	s.complaints = time.NewTicker(stuck)
	defer s.complaints.Stop()
	stop := ctx.Done()
	for {
		if stop != nil && ctx.Err() != nil {
			stop = nil
			s.log.Info("tunnel worker drains", "channels", len(s.runs))
			s.do(s.machine.softStop(time.Now()))
		}
		if s.machine.leaving && s.machine.runs() == 0 {
			s.leave(ctx)
			return nil
		}
		now := time.Now()
		if !s.beating && !now.Before(s.goneAt()) {
			return s.abandon(s.silence())
		}
		if !s.beating && !now.Before(s.beatAt()) {
			s.beat(ctx, s.goneAt())
		}
		timer.Reset(time.Until(s.wakeAt()))

		select {
		case <-stop:
		case e := <-s.ends:
			s.ended(e)
		case a := <-s.answers:
			if err := s.answered(a); err != nil {
				return s.abandon(err)
			}
		case <-timer.C:
			s.do(s.machine.tick(time.Now()))
		case <-s.complaints.C:
			s.complain()
		}
	}
}

// goneAt is when the service may take this client for dead.
func (s *session) goneAt() time.Time { return s.heardAt.Add(s.worker.cfg.HeartbeatTimeout) }

// silence is the error of a client that nobody answers.
func (s *session) silence() error {
	err := fmt.Errorf("no heartbeat of client %s was answered for %v", s.clientID, s.worker.cfg.HeartbeatTimeout)
	if s.lastFailed != nil {
		err = fmt.Errorf("%w: %w", err, s.lastFailed)
	}
	return err
}

// beatAt is when the next heartbeat is due.
func (s *session) beatAt() time.Time {
	if s.early || s.nextBeat.Before(s.notBefore) {
		return s.notBefore
	}
	return s.nextBeat
}

// wakeAt is when something is due though nothing happens.
func (s *session) wakeAt() time.Time {
	at := s.machine.wake()
	soonest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if !s.beating {
		soonest(s.goneAt())
		soonest(s.beatAt())
	}
	if at.IsZero() {
		// The heartbeat under way has a deadline: its answer wakes.
		return time.Now().Add(s.worker.cfg.HeartbeatTimeout)
	}
	return at
}

// beat sends a heartbeat, in a goroutine of its own: an answer may take as
// long as the client tries again, and nothing else waits for it.
func (s *session) beat(ctx context.Context, deadline time.Time) {
	beatCtx, hangUp := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	req := HeartbeatRequest{
		TunnelID: s.worker.cfg.TunnelID,
		ClientID: s.clientID,
		Channels: s.machine.report(),
	}
	began := time.Now()
	s.beating, s.hangUp = true, hangUp
	s.early = false
	s.nextBeat = began.Add(s.worker.cfg.HeartbeatInterval)
	go func() {
		resp, err := s.worker.service.Heartbeat(beatCtx, req)
		hangUp()
		s.answers <- answer{began: began, channels: resp.Channels, err: err}
	}()
}

// answered takes what came of the heartbeat under way. The error means that
// the client is gone; other failures are tried again.
func (s *session) answered(a answer) error {
	now := time.Now()
	s.beating = false
	// The client may have sent the heartbeat more than once: the gap counts
	// from the end.
	s.notBefore = now.Add(s.worker.cfg.HeartbeatGap)
	s.lastFailed = a.err
	switch {
	case a.err == nil:
		if s.heardAt = a.began; len(a.channels) > 0 {
			s.waiting = false
		} else if !s.heard {
			s.waiting = true
			s.waits()
		}
		s.heard = true
		s.do(s.machine.answered(now, a.channels))
	case Fatal(a.err), errors.Is(a.err, CodeResourceGone):
		return a.err
	default:
		s.early = true
		s.log.Warn("heartbeat failed", "error", a.err)
	}
	return nil
}

// do does what the machine asks.
func (s *session) do(actions []action) {
	for _, a := range actions {
		switch a.deed {
		case deedStart:
			s.start(a.channel, a.version)
		case deedDrain:
			s.log.Info("channel drains", "channel", a.channel)
			close(s.runs[a.channel].channel.draining)
		case deedCancel:
			s.log.Info("channel is stopped", "channel", a.channel)
			r := s.runs[a.channel]
			r.stoppedAt = time.Now()
			r.cancel()
		case deedBeat:
			s.early = true
		}
	}
}

// start begins a run.
func (s *session) start(id string, version int64) {
	ch := newChannel(s.worker.service, s.worker.cfg.TunnelID, s.clientID, id, version)
	ctx, cancel := context.WithCancel(s.runsBase)
	s.runs[id] = &run{channel: ch, cancel: cancel}
	s.log.Info("channel opened", "channel", id, "version", version)
	s.running.Go(func() {
		defer cancel()
		end, err := s.worker.consumer.Consume(ctx, ch)
		s.ends <- runEnd{channel: id, end: end, err: err}
	})
}

// ended takes note that a run has returned.
func (s *session) ended(e runEnd) {
	delete(s.runs, e.channel)
	log := s.log.With("channel", e.channel, "end", e.end.String())
	if e.err == nil {
		log.Info("channel ended")
	} else {
		log.Warn("channel ended", "error", e.err)
	}
	s.do(s.machine.runEnded(time.Now(), e.channel, e.end))
}

// abandon stops every run and waits for them: the client is gone, and another
// may work on its channels already.
func (s *session) abandon(why error) error {
	if s.beating {
		s.hangUp()
		<-s.answers
	}
	s.do(s.machine.disconnected(time.Now()))
	for s.machine.runs() > 0 {
		select {
		case e := <-s.ends:
			s.ended(e)
		case <-s.complaints.C:
			s.complain()
		}
	}
	return why
}

// waits has the log say that there is no channel for this client, and for how
// long that may still be because of a client that was killed.
func (s *session) waits() {
	timeout := s.worker.cfg.HeartbeatTimeout
	// The next heartbeat after that brings what the killed client held.
	left := time.Until(s.connected.Add(timeout + s.worker.cfg.HeartbeatInterval))
	if left <= 0 {
		s.waiting = false
		s.log.Info("still no channel for this client, though heartbeat.timeout has passed: other clients are alive and hold them, or none is open")
		return
	}
	s.log.Info("no channel for this client yet: other clients hold them, and one that was killed keeps its own until its heartbeat.timeout has passed",
		"heartbeat.timeout", timeout, "left_at_most", left.Round(time.Second))
}

// complain has the log name what keeps this session waiting: the channels that
// do not come, the runs that do not return.
func (s *session) complain() {
	if s.waiting && !s.machine.leaving {
		s.waits()
	}
	var late []string
	for id, r := range s.runs {
		if !r.stoppedAt.IsZero() && time.Since(r.stoppedAt) >= stuck {
			late = append(late, id)
		}
	}
	if len(late) > 0 {
		slices.Sort(late)
		s.log.Warn("channels were stopped, but their consumer or callback has not returned and is waited for", "count", len(late), "channels", late)
	}
}

// leave says good-bye when every run has returned after a soft stop: what is
// still owed in a last heartbeat, then Shutdown. Its failures are logged; the
// service finds out by itself when the client stays silent.
func (s *session) leave(ctx context.Context) {
	deadline := time.Now().Add(s.worker.cfg.HeartbeatGap + farewell)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if s.beating {
		hangUp := context.AfterFunc(ctx, s.hangUp)
		defer hangUp()
		if err := s.answered(<-s.answers); err != nil {
			s.log.Warn("the client is gone before it could leave", "error", err)
			return
		}
	}
	if s.machine.owes() {
		s.log.Info("tunnel worker gives its channels back", "wait", max(0, time.Until(s.notBefore)))
		_ = sleep(ctx, time.Until(s.notBefore)) // beat says if ctx ended
		s.beat(ctx, deadline)
		if err := s.answered(<-s.answers); err != nil {
			s.log.Warn("the client is gone before it could leave", "error", err)
			return
		}
	}
	// Shutdown has a time of its own: the heartbeat may have used up its.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := s.worker.service.Shutdown(ctx, ShutdownRequest{TunnelID: s.worker.cfg.TunnelID, ClientID: s.clientID})
	if err != nil {
		s.log.Warn("shutting the client down failed; the service drops it after its timeout", "error", err)
		return
	}
	s.log.Info("tunnel worker left")
}
