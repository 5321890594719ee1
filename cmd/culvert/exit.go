package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Exit codes. The help text says what they mean.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3
	exitInterrupted = 130
)

// exitError ends the process with a code other than exitFailed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage says that the command line or the configuration is wrong.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unavailable says that something needed cannot be reached or started.
func unavailable(format string, args ...any) error {
	return &exitError{exitUnavailable, fmt.Errorf(format, args...)}
}

// unlessInterrupted is the error of something that has to be done before
// anything begins. It is not a failure if an interrupt broke it off.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &exitError{exitDone, errors.New("interrupted before anything began")}
	}
	return err
}

// interruptible gives a context that ends with the first SIGINT or SIGTERM;
// the second calls leave and ends the process. release must be called before main returns.
func interruptible(stderr io.Writer, leave func()) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	var listener sync.WaitGroup
	listener.Go(func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(stderr, "culvert: draining; interrupt again to leave at once")
		cancel()
		if _, ok := <-signals; ok {
			leave()
			os.Exit(exitInterrupted)
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		listener.Wait()
		cancel()
	}
}
