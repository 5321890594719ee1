package tunnel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// farewell bounds what a worker that was asked to stop still says to the
// service: a Connect under way, the last heartbeat, Shutdown.
const farewell = 5 * time.Second

// service is the part of a [Client] that a worker uses.
type service interface {
	channelCalls
	Connect(ctx context.Context, req ConnectRequest) (ConnectResponse, error)
	Heartbeat(ctx context.Context, req HeartbeatRequest) (HeartbeatResponse, error)
	Shutdown(ctx context.Context, req ShutdownRequest) error
}

// Worker keeps one client of a tunnel connected and hands the channels that
// the service gives to it to a [Consumer].
type Worker struct {
	service  service
	consumer Consumer
	cfg      WorkerConfig
	busy     atomic.Bool
}

// NewWorker returns a worker that has not begun. The error names every
// mistake in the configuration.
func NewWorker(client *Client, cfg WorkerConfig, consumer Consumer) (*Worker, error) {
	if client == nil {
		return nil, errors.New("tunnel worker: client: missing")
	}
	return newWorker(client, cfg, consumer)
}

func newWorker(service service, cfg WorkerConfig, consumer Consumer) (*Worker, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if consumer == nil {
		err = errors.Join(err, errors.New("consumer: missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("tunnel worker: %w", err)
	}
	return &Worker{service: service, consumer: consumer, cfg: cfg}, nil
}

// Run connects and hands out channels until ctx ends or the service refuses
// for good. Every Consume that it began has returned when it returns.
//
// When ctx ends, the worker stops softly: every channel's Draining is closed,
// heartbeats go on while channels drain, and a Consume that takes longer than
// DrainLimit has its context ended. Then a last heartbeat gives the channels
// back, the client is shut down, and Run returns nil, even if the service
// could not be told.
//
// An error that is [Fatal] ends every Consume's context and then Run, with
// that error. When the service no longer knows the client, or answers no
// heartbeat for HeartbeatTimeout, every Consume's context ends too; when all
// have returned, the worker connects anew. Any other failure is tried again.
//
// Run may be called again after it has returned, but not before.
func (w *Worker) Run(ctx context.Context) error {
	if !w.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("tunnel worker: tunnel %s is being consumed already", w.cfg.TunnelID)
	}
	defer w.busy.Store(false)

	for ctx.Err() == nil {
		err := w.connectAndServe(ctx)
		switch {
		case err == nil:
			return nil
		case Fatal(err):
			return fmt.Errorf("tunnel worker: %w", err)
		case ctx.Err() != nil:
			return nil
		}
		wait := rand.N(w.cfg.ReconnectMax) + 1
		w.cfg.Logger.Warn("tunnel worker connects anew", "tunnel_id", w.cfg.TunnelID, "wait", wait, "error", err)
		_ = sleep(ctx, wait) // the loop looks at ctx
	}
	return nil
}

// connectAndServe is the life of one client. It returns nil only after a soft
// stop.
func (w *Worker) connectAndServe(ctx context.Context) error {
	// A Connect that is cut off may leave a client behind that keeps its
	// channels from the others until it times out: wait for its answer.
	connecting, cancel := outlive(ctx, farewell)
	defer cancel()
	began := time.Now()
	resp, err := w.service.Connect(connecting, ConnectRequest{
		TunnelID:  w.cfg.TunnelID,
		Timeout:   w.cfg.HeartbeatTimeout,
		ClientTag: w.cfg.ClientTag,
	})
	if err != nil {
		return err
	}
	log := w.cfg.Logger.With("tunnel_id", w.cfg.TunnelID, "client", resp.ClientID)
	log.Info("tunnel worker connected")
	return newSession(w, resp.ClientID, log, began).serve(ctx)
}

// outlive returns a context that ends grace later than ctx.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	outliving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = sleep(outliving, grace)
		cancel()
	})
	return outliving, func() {
		stop()
		cancel()
	}
}
