package main

import (
	"context"
	"log/slog"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/dispatcher/invoke"
	"github.com/culvertio/culvert/tunnel"
)

// newClient makes the client of the tunnel that is consumed.
func newClient(c dispatcher.Config, logger *slog.Logger) (*tunnel.Client, error) {
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Endpoint:    c.Tunnel.Endpoint,
		Instance:    c.Tunnel.Instance,
		Credentials: c.Tunnel.Credentials,
		Logger:      logger,
	})
	if err != nil {
		return nil, usage("%w", err)
	}
	return client, nil
}

// openTarget makes the target of a trigger. Handlers that have to be built or
// started are, before it returns; their invocations are recorded in the
// directory journal, unless it is empty.
func (s *surroundings) openTarget(ctx context.Context, t dispatcher.Trigger, journal string, logger *slog.Logger) (invoke.Target, error) {
	dir, err := s.scratch.dir()
	if err != nil {
		return nil, err
	}
	target, err := invoke.Open(ctx, t.Function, invoke.Options{
		Name: t.Name, Timeout: t.Timeout, AtOnce: t.Limit.AtOnce, Output: s.stdout, Journal: journal, Scratch: dir, Logger: logger,
	})
	if err != nil {
		return nil, unlessInterrupted(ctx, unavailable("trigger %s: %w", t.Name, err))
	}
	return target, nil
}
