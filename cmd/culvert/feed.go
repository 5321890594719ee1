package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/culvertio/culvert/internal/check"
	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// feed is where the changes come from that local writes.
type feed interface {
	// table is where they go.
	table() emulator.TableSpec
	// load gives all that is to be written before the tunnel is made, and
	// returns how many rows that leaves.
	load(ctx context.Context, write func(sample) error) (rows int, err error)
	// next is one more change; false: there is none.
	next() (sample, bool)
	// more is how many of next are wanted at once, before the rate counts.
	more() int
	// ours says whether a key, as the checker writes it, is one of the feed's.
	ours(key string) bool
	// describe says, in lines, what has been loaded and from where.
	describe(w io.Writer, rows int)
}

// sample is one change, for the emulator and for the checker.
type sample struct {
	change emulator.Change
	write  check.Write
}

// keyOf is a table's key as one reads it.
func keyOf(spec emulator.TableSpec) string {
	var columns []string
	for _, k := range spec.Key {
		columns = append(columns, fmt.Sprintf("%s, %s", k.Name, map[plainbuffer.Type]string{
			plainbuffer.String: "a string", plainbuffer.Integer: "an integer",
		}[k.Type]))
	}
	return strings.Join(columns, "; ")
}

// tunnelOf is the tunnel that is made for a table.
func tunnelOf(table string) string { return table + "-feed" }

// orderFeed is sample orders.
type orderFeed struct {
	*samples
	base  int // changes before the tunnel is made
	quick int // changes soon after
}

func (f *orderFeed) table() emulator.TableSpec {
	return emulator.TableSpec{Name: sampleTable, Key: []emulator.KeyColumn{{Name: sampleKey, Type: plainbuffer.String}}}
}

func (f *orderFeed) load(_ context.Context, write func(sample) error) (rows int, err error) {
	for range f.base {
		if err := write(f.samples.next()); err != nil {
			return 0, err
		}
	}
	return len(f.open), nil
}

func (f *orderFeed) next() (sample, bool) { return f.samples.next(), true }

func (f *orderFeed) more() int { return f.quick }

func (f *orderFeed) ours(key string) bool {
	return strings.HasPrefix(key, check.KeyText(sampleKey, `"`+samplePrefix))
}

func (f *orderFeed) describe(w io.Writer, rows int) {
	fmt.Fprintf(w, "table %s made; %d changes of sample orders left %d rows in it: the base data of the tunnel %s\n", sampleTable, f.base, rows, tunnelOf(sampleTable))
}
