package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

type localCommand struct {
	Data  string   `help:"Your own rows: a CSV file with a header, or JSON lines. Left out: sample orders are written." placeholder:"FILE"`
	Key   []string `help:"The key columns of --data, 1 to 4; the first one decides a row's partition." placeholder:"COLUMN[,COLUMN]"`
	Table string   `help:"The table that --data goes to. Left out: named like the file." placeholder:"NAME"`
	Types []string `help:"Types of columns of --data, where not the inferred ones: integer, double, boolean or string." placeholder:"COLUMN:TYPE[,…]"`

	Handler        string `help:"Directory of the handler's Go source, or its binary. Left out: functions/examples/orders of Culvert's own source." placeholder:"DIR"`
	HandlerCommand string `help:"Command that starts a handler in any language, such as \"python3 handler.py\". It must serve POST /invoke on the port that FC_SERVER_PORT names." placeholder:"COMMAND"`

	Timeout time.Duration `help:"What one invocation may take, 10ms to 24h; past it the handler's process is killed, and the batch is tried again (${default})." default:"1m" placeholder:"DURATION"`

	Once   bool          `help:"End when all that was written is settled, and say whether it arrived."`
	Limit  time.Duration `help:"With --once: give up when this has passed since the handler was ready, with exit code 1. Left out: as long as it takes, which is for ever if the handler always fails." placeholder:"DURATION"`
	Rate   *float64      `help:"Changes a second to write until an interrupt, once the orders or rows are written (1 for orders, 0 with --data)." placeholder:"N"`
	Orders *int          `help:"Changes of sample orders to write (150), a third of them before the tunnel is made: what is then in the table is its base data." placeholder:"N"`
	Faults *uint64       `help:"Trouble between dispatcher and emulator: errors, latency, cut connections, moves, splits and more, as the seed has it. It ends with an interrupt." placeholder:"SEED"`
	Seed   uint64        `help:"The same seed makes the same orders, and picks the same rows (${default})." default:"1" placeholder:"N"`

	Listen    string     `help:"Address of the emulator; port 0 picks a free one (${default})." default:"127.0.0.1:0" placeholder:"ADDR"`
	Plain     bool       `help:"Plain lines also on a terminal, in place of the live view."`
	Arguments []string   `arg:"" optional:"" hidden:""` // there are none; what looks like one is told where it belongs
	LogLevel  slog.Level `help:"Log at debug, info, warn or error (${default})." default:"warn" placeholder:"LEVEL"`
}

// Help is the end of the command's help text.
func (localCommand) Help() string {
	return `Starts the emulator, an embedded ledger, the handler and a dispatcher; makes a table and a tunnel, writes sample orders or your own rows, and shows what happens: in a live view on a terminal (without colors where NO_COLOR is set), in lines elsewhere. Everything is kept in memory and ends with the process.

The handler is watched: when its source changes it is built anew and takes over; while it does not compile, the error is shown and the old one kept. A command is started anew when a file that it names changes.

All rows of --data are in the table before the tunnel is made, so that they are its base data; --rate then writes rows of the file again. In CSV each column has one type, the narrowest that all its cells fit: integer, double, boolean, string. Leading zeros and digits that a number would lose make a string. An empty cell is no column. In JSON lines each value keeps its own type: an integer stays exact, or becomes a string beyond 64 bits; an object or array becomes its text; null is no column. A key column is an integer or a string. Of rows with the same key the last one counts. A mistake in the file is named with its line, before anything starts. 1,000,000 rows may be given; all of them are kept in memory, which takes several kB a row.

The summary at the end is computed from what the local runtime has recorded: every invocation, with what the handler was given and what it answered.

Exit codes: 0 all arrived in order, 1 something was lost, out of order or corrupt, or not settled within --limit, 2 wrong command line or data, 3 the address cannot be listened on or the handler does not build or start, 130 interrupted twice.`
}

const (
	defaultOrders = 150
	mostOrders    = 1_000_000
	mostRate      = 10_000 // changes a second
)

// check says what is wrong with the flags.
func (c *localCommand) check() error {
	data := c.Data != ""
	if len(c.Arguments) > 0 {
		return usage("unexpected argument %s%s", c.Arguments[0], belongs(c.Arguments[0]))
	}
	switch {
	case c.Handler != "" && c.HandlerCommand != "":
		return usage("--handler and --handler-command: one handler is run; name it with one of them")
	case data && c.Handler == "" && c.HandlerCommand == "":
		return usage("--data: which handler gets the rows? Name it with --handler DIR (Go) or --handler-command \"python3 handler.py\" (any language)")
	case data && len(c.Key) == 0:
		return usage("--data: which columns are the key? Name them with --key COLUMN[,COLUMN]: a row is known by its key, and changes of one key stay in order")
	case !data && (len(c.Key) > 0 || c.Table != "" || len(c.Types) > 0):
		return usage("--key, --table and --types say what is in a file: name it with --data FILE")
	case data && c.Orders != nil:
		return usage("--orders: sample orders are written without --data only; with it, --rate N writes on")
	case c.Orders != nil && (*c.Orders < 1 || *c.Orders > mostOrders):
		return usage("--orders: %d: 1 to 1,000,000 may be written", *c.Orders)
	case c.Rate != nil && !(*c.Rate >= 0 && *c.Rate <= mostRate):
		return usage("--rate: %v: 0 to 10,000 changes a second may be written", *c.Rate)
	case c.Timeout < 10*time.Millisecond || c.Timeout > 24*time.Hour:
		return usage("--timeout: %v: an invocation may take 10ms to 24h", c.Timeout)
	case c.Limit < 0:
		return usage("--limit: %v: want a time such as 2m", c.Limit)
	case c.Limit > 0 && !c.Once:
		return usage("--limit: it is for --once; without it a run goes on until an interrupt")
	case c.Rate != nil && *c.Rate > 0 && c.Once:
		return usage("--rate: with --once nothing is written on; leave one of them out")
	}
	return nil
}

// belongs says where an argument without a flag belongs, if its name tells.
func belongs(argument string) string {
	flag := ""
	switch strings.ToLower(filepath.Ext(argument)) {
	case ".csv", ".jsonl", ".ndjson":
		flag = "--data " + argument
	default:
		if info, err := os.Stat(argument); err == nil && info.IsDir() {
			flag = "--handler " + argument
		} else if script := runtime.Interpreted(argument); script != "" {
			flag = fmt.Sprintf("--handler-command %q", script)
		}
	}
	if flag == "" {
		return ""
	}
	return ": did you mean " + flag + "?"
}

// rate is how many changes a second follow.
func (c *localCommand) rate() float64 {
	switch {
	case c.Once:
		return 0
	case c.Rate != nil:
		return *c.Rate
	case c.Data != "":
		return 0
	}
	return 1
}

// way is how a run ends that would go on for ever.
func (c *localCommand) way() string {
	if c.Once && c.Limit == 0 {
		return "Ctrl-C ends the run, and --limit 2m would"
	}
	return "Ctrl-C ends the run"
}

// Run starts the parts, drives them, takes them down and judges.
func (c *localCommand) Run(ctx context.Context, s *surroundings) error {
	if err := c.check(); err != nil {
		return err
	}
	handler, err := c.handler()
	if err != nil {
		return err
	}
	dir, err := s.scratch.dir()
	if err != nil {
		return err
	}
	journals := filepath.Join(dir, "journal")
	if err := os.Mkdir(journals, 0o700); err != nil {
		return unavailable("no place for the handler's journal: %w", err)
	}
	l := &local{out: s.stdout, console: newConsole(s, c.Plain), handler: handler, journals: journals}
	remaining, err := c.run(ctx, l, s)
	l.console.close()
	if err != nil {
		return err
	}
	return l.summarize(remaining)
}

// run reads the data, if there is any, and has everything up, until the last
// commit. It returns how many records no checkpoint covers at the end.
func (c *localCommand) run(ctx context.Context, l *local, s *surroundings) (remaining int64, err error) {
	if l.feed, err = c.openFeed(ctx, l.console); err != nil {
		return 0, err
	}
	return l.run(ctx, s, c)
}

// openFeed is what is written: the file's rows, or sample orders.
func (c *localCommand) openFeed(ctx context.Context, console *console) (feed, error) {
	if c.Data != "" {
		return openRows(ctx, c, console)
	}
	orders := defaultOrders
	if c.Orders != nil {
		orders = *c.Orders
	}
	return &orderFeed{samples: newSamples(c.Seed), base: orders / 3, quick: orders - orders/3}, nil
}
