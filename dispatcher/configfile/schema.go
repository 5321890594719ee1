package configfile

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/culvertio/culvert/dispatcher"
	"github.com/culvertio/culvert/tunnel"
)

// schema says where each setting of a file goes.
func schema(r *reader, f *File) section {
	d := &f.Dispatcher
	return section{
		"tunnel": r.section(section{
			"endpoint":    r.text(&d.Tunnel.Endpoint),
			"instance":    r.text(&d.Tunnel.Instance),
			"table":       r.text(&d.Tunnel.Table),
			"name":        r.text(&d.Tunnel.Name),
			"create":      r.text(&d.Tunnel.Create),
			"credentials": r.credentials(&d.Tunnel),
			"start_at":    r.later(""),
			"stop_at":     r.later(""),
		}),
		"heartbeat": r.section(section{
			"interval": r.duration(&d.Heartbeat.Interval),
			"timeout":  r.duration(&d.Heartbeat.Timeout),
			"gap":      r.duration(&d.Heartbeat.Gap),
		}),
		"checkpoint": r.section(section{
			"interval": r.duration(&d.Checkpoint.Interval),
		}),
		"read_ahead": r.bytes(&d.ReadAhead),
		"drain":      r.duration(&d.Drain),
		"ledger": r.section(section{
			"redis": r.redis(&f.Ledger.Redis),
		}),
		"triggers": r.list(func() reading {
			d.Triggers = append(d.Triggers, dispatcher.Trigger{})
			return r.section(trigger(r, &d.Triggers[len(d.Triggers)-1]))
		}),
		"log": r.section(section{
			"level": r.oneOf([]string{"debug", "info", "warn", "error"}, func(level string) {
				_ = f.Log.Level.UnmarshalText([]byte(level)) // these four it knows
			}),
			"format": r.oneOf([]string{"auto", "text", "json"}, func(format string) { f.Log.Format = format }),
		}),
		"admin":    r.later(""),
		"mode":     r.later(""),
		"start_at": r.later(""),
		"stop_at":  r.later(""),
	}
}

func trigger(r *reader, t *dispatcher.Trigger) section {
	return section{
		"name":     r.text(&t.Name),
		"function": r.text(&t.Function),
		"timeout":  r.duration(&t.Timeout),
		"format":   r.text(&t.Format),
		"batch": r.section(section{
			"records": r.count(&t.Batch.Records),
			"bytes":   r.bytes(&t.Batch.Bytes),
			"window":  r.durationOrZero(&t.Batch.Window),
		}),
		"parallel": r.count(&t.Parallel),
		"retry": r.section(section{
			"first":    r.duration(&t.Retry.First),
			"max":      r.duration(&t.Retry.Max),
			"attempts": r.later("; a batch is retried until it succeeds"),
			"age":      r.later("; a batch is retried until it succeeds"),
			"split":    r.later("; a batch is retried whole"),
		}),
		"limit": r.section(section{
			"at_once":    r.count(&t.Limit.AtOnce),
			"per_second": r.later("; limit.at_once bounds the load"),
		}),
		"filter":     r.later("; every record is delivered"),
		"on_failure": r.later("; a batch is retried until it succeeds"),
		"mode":       r.later(""),
		"start_at":   r.later(""),
		"stop_at":    r.later(""),
	}
}

// credentials reads a key and its secret. Left out, the provider stays nil,
// which means the default ones; half a pair is a mistake.
func (r *reader) credentials(t *dispatcher.Tunnel) reading {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		var id, secret, token string
		r.section(section{
			"access_key_id":     r.text(&id),
			"access_key_secret": r.text(&secret),
			"security_token":    r.text(&token),
		})(path, n)
		for _, half := range []struct{ key, value string }{{"access_key_id", id}, {"access_key_secret", secret}} {
			if at := join(path, half.key); half.value == "" && !r.isWrong(at) {
				r.mistake(at, r.placeFor(at), "is required in credentials; without credentials, the environment's are used")
			}
		}
		t.Credentials = tunnel.StaticCredentials(id, secret, token)
	}
}
