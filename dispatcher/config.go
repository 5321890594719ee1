// Package dispatcher takes the changes that tunnels export and invokes
// functions with them. [Dispatcher.Run] owns every goroutine.
package dispatcher

import (
	"time"

	"github.com/culvertio/culvert/tunnel"
)

// Config is one dispatcher: one tunnel and its triggers. Zero values mean
// the defaults.
type Config struct {
	Tunnel     Tunnel
	Heartbeat  Heartbeat
	Checkpoint Checkpoint
	// ReadAhead bounds the bytes of records read and not yet settled, for the
	// whole process. Default 256 MiB, at least 1 MiB.
	ReadAhead int64
	// Drain bounds how long a stop, or a channel asked back by the service,
	// waits for invocations under way. Default 30 s, 0 < Drain ≤ 10 min.
	Drain    time.Duration
	Triggers []Trigger // exactly one
}

// Tunnel says which tunnel is consumed.
type Tunnel struct {
	Endpoint string // http:// or https:// URL, no path; required
	Instance string // required
	Table    string // required
	Name     string // required
	// Create makes the tunnel, of this type, if it is missing: BaseData,
	// Stream or BaseAndStream. Empty: it must exist.
	Create string
	// Credentials default to the environment: see tunnel.EnvironmentCredentials.
	Credentials tunnel.CredentialsProvider
}

// Heartbeat has the official meaning; see tunnel.WorkerConfig.
type Heartbeat struct {
	// Interval also bounds the random wait before a connection that was lost is
	// made anew, which is 10 s at most. Default 30 s, at least 5 s unless Gap is
	// less.
	Interval time.Duration
	Timeout  time.Duration // default 300 s, above Interval, to 24 h, whole seconds
	// Gap is the least time between two heartbeats. Default 5 s, the least
	// that suits the real service; less is for the emulator. 1 ms to Interval.
	Gap time.Duration
}

// Checkpoint says how often progress is committed to the tunnel.
type Checkpoint struct {
	Interval time.Duration // default 5 s, 10 ms to 10 min
}

// Trigger is one function with its batching, order and retry settings.
type Trigger struct {
	Name string // required, unique; letters, digits, - and _, at most 64
	// Function is where batches go: http://, https://, process:PATH, PATH being
	// a directory of Go source or an executable, or command:COMMAND, a program
	// for a custom runtime and its arguments. Required.
	Function string
	// Timeout bounds one invocation. Default 60 s, 10 ms to 24 h.
	Timeout time.Duration
	// Format is the events' encoding: json, the default, or cbor, in which
	// handlers of the native trigger expect them.
	Format   string
	Batch    Batch
	Parallel int // lanes per channel. Default 1 (the channel's order); to 64 (order per key)
	Retry    Retry
	Limit    Limit
}

// Batch says when a lane's records become an invocation: at Records or at
// Bytes, or when Window has passed since the first of them arrived.
type Batch struct {
	Records int           // default 100, 1 to 10,000
	Bytes   int64         // of payload. Default 4 MiB, 1 KiB to 32 MiB
	Window  time.Duration // default 0: whatever is there, to 5 min
}

// Retry says how a failed attempt is repeated: in place, for ever.
type Retry struct {
	First time.Duration // wait after the first failure. Default 200 ms, 1 ms to Max
	Max   time.Duration // longest wait. Default 1 min, to 1 h
}

// Limit bounds the load on a function.
type Limit struct {
	AtOnce int // invocations at once, over all channels. Default 32, 1 to 10,000, of process: and command: to 256
}
