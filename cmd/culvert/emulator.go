package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/culvertio/culvert/tunnel/emulator"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

type emulatorCommand struct {
	Listen     string     `help:"Address to listen on; port 0 picks a free one (${default})." default:"127.0.0.1:8087" placeholder:"ADDR"`
	Instance   string     `help:"Name of the instance (${default})." default:"local" placeholder:"NAME"`
	AccessKey  string     `help:"The only access key accepted. Left out: every one is." placeholder:"ID:SECRET"`
	Data       string     `help:"Directory in which tables, changes, tunnels and checkpoints are kept. Left out: everything is in memory and ends with the process." placeholder:"DIR"`
	Partitions int        `help:"Partitions of a new table, each a channel of its tunnels (${default})." default:"1" placeholder:"N"`
	SplitBytes int64      `help:"Split a partition once so many bytes of rows have been written to it; 0: never (${default})." default:"0" placeholder:"N"`
	Table      []string   `help:"Make a table, its key columns being strings, unless --data has it; may be given again." placeholder:"NAME:KEY[,KEY]" sep:"none"`
	Faults     *uint64    `help:"Trouble: a mix of all faults that a consumer should survive. The same seed makes the same mix." placeholder:"SEED"`
	Fault      []string   `help:"One fault, by kind, call, rate and what its kind wants; may be given again. An error is the kind that is meant when none is given." placeholder:"kind=KIND,call=CALL,rate=0.1" sep:"none"`
	Switch     []string   `help:"How to behave where nobody knows what the real service does; may be given again." placeholder:"NAME[=SETTING]" sep:"none"`
	LogLevel   slog.Level `help:"Log at debug, info, warn or error (${default})." default:"info" placeholder:"LEVEL"`
}

// Help is the end of the command's help text.
func (emulatorCommand) Help() string {
	return `The tables' and the tunnels' APIs are served on one endpoint; the official SDKs work with it as with an instance of Tablestore. What --data keeps survives the process, also kill -9.

Faults, switches, splits, moves and what there is can be seen and changed while it runs, at the address that it prints as "control".

Kinds of faults: ` + joined(emulator.FaultKinds()) + `.

Switches: ` + joined(emulator.SwitchNames()) + `.

Exit codes: 0 stopped by an interrupt, 2 wrong command line, 3 the address cannot be listened on or the data cannot be used.`
}

func joined[T ~string](names []T) string {
	var all []string
	for _, name := range names {
		all = append(all, string(name))
	}
	return strings.Join(all, ", ")
}

// Run serves until an interrupt.
func (c *emulatorCommand) Run(ctx context.Context, s *surroundings) error {
	config, err := c.config(newLogger(s.stderr, c.LogLevel, "auto"))
	if err != nil {
		return err
	}
	loading := &console{stdout: s.stderr}
	config.OnLoad = func(done, total int64) { loading.task("loading "+c.Data, done, total) }
	server, err := startEmulator(ctx, c.Listen, config)
	if err != nil {
		return err
	}
	defer server.stop()
	for _, table := range c.Table {
		if err := server.makeTable(table); err != nil {
			return err
		}
	}
	if config.AccessKeyID == "" {
		config.AccessKeyID, config.AccessKeySecret = "(any)", "(any)"
	}
	printEndpoint(s.stdout, server.endpoint, config)
	select {
	case <-ctx.Done():
		return server.close()
	case err := <-server.failed:
		return err
	}
}

// config is what the flags make of the emulator.
func (c *emulatorCommand) config(logger *slog.Logger) (emulator.Config, error) {
	config := emulator.Config{
		Instance:   c.Instance,
		Partitions: c.Partitions,
		SplitBytes: c.SplitBytes,
		Data:       c.Data,
		Logger:     logger,
	}
	if c.AccessKey != "" {
		id, secret, ok := strings.Cut(c.AccessKey, ":")
		if !ok || id == "" || secret == "" {
			return config, usage("--access-key: want ID:SECRET, an access key's id and its secret with a colon between them")
		}
		config.AccessKeyID, config.AccessKeySecret = id, secret
	}
	if c.Partitions < 1 {
		return config, usage("--partitions: %d: a table has at least one", c.Partitions)
	}
	var err error
	if config.Switches, err = emulator.ParseSwitches(c.Switch...); err != nil {
		return config, usage("--switch: %w", err)
	}
	if c.Faults != nil {
		config.Faults = emulator.RandomFaults(*c.Faults, false)
	}
	for _, text := range c.Fault {
		fault, err := emulator.ParseFault(text)
		if err != nil {
			return config, usage("--fault: %w", err)
		}
		config.Faults.Rules = append(config.Faults.Rules, fault)
	}
	return config, nil
}

// printEndpoint says what a program needs to use the emulator.
func printEndpoint(w io.Writer, endpoint string, c emulator.Config) {
	fmt.Fprintf(w, "endpoint           %s\n", endpoint)
	fmt.Fprintf(w, "instance           %s\n", c.Instance)
	fmt.Fprintf(w, "access key id      %s\n", c.AccessKeyID)
	fmt.Fprintf(w, "access key secret  %s\n", c.AccessKeySecret)
	fmt.Fprintf(w, "control            %s/emulator/state\n", endpoint)
}

// emulatorServer is an emulator behind a listener.
type emulatorServer struct {
	*emulator.Emulator
	endpoint string
	failed   chan error // the server ended by itself
	server   *http.Server
	serving  sync.WaitGroup
	kept     bool // there are data that outlive it
}

// startEmulator listens and serves until stop is called.
func startEmulator(ctx context.Context, address string, config emulator.Config) (*emulatorServer, error) {
	listener, err := listen(ctx, address)
	if err != nil {
		return nil, err
	}
	em, err := newEmulator(config)
	if err != nil {
		_ = listener.Close() // nothing has come of it
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", em)
	mux.Handle("/emulator/", em.Control())
	s := &emulatorServer{
		Emulator: em,
		endpoint: "http://" + reachable(listener.Addr()),
		failed:   make(chan error, 1),
		kept:     config.Data != "",
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          slog.NewLogLogger(config.Logger.Handler(), slog.LevelDebug),
		},
	}
	s.serving.Go(func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("the emulator stopped serving: %w", err)
		}
	})
	return s, nil
}

// newEmulator makes an emulator, and loads its data if it keeps any.
func newEmulator(config emulator.Config) (*emulator.Emulator, error) {
	inMemory := config
	inMemory.Data = ""
	if _, err := emulator.New(inMemory); err != nil { // it is the settings, not the data
		return nil, usage("%w", err)
	}
	em, err := emulator.New(config)
	if err != nil {
		return nil, unavailable("--data: %w", err)
	}
	return em, nil
}

// makeTable makes a table as --table describes it.
func (s *emulatorServer) makeTable(text string) error {
	name, keys, _ := strings.Cut(text, ":")
	spec := emulator.TableSpec{Name: name}
	for key := range strings.SplitSeq(keys, ",") {
		spec.Key = append(spec.Key, emulator.KeyColumn{Name: key, Type: plainbuffer.String})
	}
	err := s.CreateTable(spec)
	if e, ok := errors.AsType[*emulator.Error](err); ok && e.Code == "OTSObjectAlreadyExist" && s.kept {
		return nil // it was made when the data were new
	}
	if err != nil {
		return usage("--table %s: %w; want NAME:KEY[,KEY], such as orders:order_id", text, err)
	}
	return nil
}

// stop is close where nothing is kept that could fail.
func (s *emulatorServer) stop() { _ = s.close() }

// close answers the calls under way, for at most two seconds, and ends. Its
// error says that something is not on disk. It may be called again.
func (s *emulatorServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // whoever is still connected has had their time
	}
	s.serving.Wait()
	return s.Emulator.Close()
}

// listen listens on a TCP address. Its error says what to do.
func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, unavailable("cannot listen on %s: another program has this address; stop it, or choose another with --listen (127.0.0.1:0 picks a free port)", address)
	case errors.Is(err, syscall.EACCES):
		return nil, unavailable("cannot listen on %s: this user may not use the port; choose one above 1023 with --listen", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, unavailable("cannot listen on %s: it is not an address of this machine; choose one that is with --listen", address)
	}
	var malformed *net.AddrError
	if errors.As(err, &malformed) {
		return nil, usage("--listen: %q is not an address: want HOST:PORT, such as 127.0.0.1:8087", address)
	}
	return nil, unavailable("cannot listen on %s: %w", address, err)
}

// reachable is an address under which this machine reaches a listener.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return a.String()
}
