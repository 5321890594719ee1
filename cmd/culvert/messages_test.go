package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

func TestHelpDocumentsTheExitCodes(t *testing.T) {
	t.Parallel()
	start(t, nil, "--help").exits(exitDone, "Exit codes:", "130", "local", "emulator", "run", "version")
	for _, command := range []string{"local", "emulator", "run"} {
		start(t, nil, command, "--help").exits(exitDone, "Usage: culvert "+command+" [flags]\n", "Exit codes:")
	}
	start(t, nil, "version", "--help").exits(exitDone, "Usage: culvert version")
	start(t, nil, "version").exits(exitDone, "culvert ", "go1.")
}

func TestAWrongCommandLineSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want string
	}{
		{"", `expected one of "local"`},
		{"locl", "unexpected argument locl"},
		{"run --confg x", "unknown flag --confg"},
		{"run --config /nowhere/culvert.yaml", "/nowhere/culvert.yaml: no such file or directory; name the file with --config"},
		{"emulator --partitions 0x", "--partitions"},
		{"emulator --partitions 5000", "must be 1 to 1024"},
		{"emulator --partitions 0", "at least one"},
		{"emulator --listen 127.0.0.1:0 --table orders", "want NAME:KEY"},
		{"emulator --access-key id", "want ID:SECRET"},
		{"emulator --listen 8087", "want HOST:PORT"},
		{"emulator --log-level loud", "--log-level"},
		{"emulator --split-bytes=-1", "partition split at -1 bytes"},
		{"emulator --switch epoch", "there is no switch \"epoch\"; there are epoch-rises"},
		{"emulator --switch early-heartbeats=late", "\"late\" is none of taken, ignored, throttled"},
		{"emulator --fault rate=2", "--fault"},
		{"emulator --fault kind=fire", "fire"},
		{"emulator --fault call=Reed", "Reed"},
		{"emulator --faults many", "--faults"},
		{"local --orders 0", "--orders"},
		{"local sensors.csv --key id", "unexpected argument sensors.csv: did you mean --data sensors.csv?"},
		{"local handler.py --once", `did you mean --handler-command "python3 handler.py"?`},
		{"local testdata/recorder", "did you mean --handler testdata/recorder?"},
		{"local --key a b", "unexpected argument b\n"},
		{"local --handler", "--handler"},
		{"local --handler x --handler-command y", "one handler is run"},
		{"local --handler-command no-such-program", "there is no program no-such-program"},
		{"local --data x.csv --key id", "which handler gets the rows?"},
		{"local --data x.csv --handler x", "which columns are the key?"},
		{"local --key id", "name it with --data"},
		{"local --data x.csv --key id --handler x --orders 7", "--orders"},
		{"local --rate=-1", "0 to 10,000 changes a second"},
		{"local --rate 1 --once", "nothing is written on"},
		{"local --rate many", "--rate"},
		{"local --timeout 1ms", "--timeout: 1ms: an invocation may take 10ms to 24h"},
		{"local --timeout 60", "--timeout"},
		{"local --limit 2m", "it is for --once"},
		{"local --once --limit=-2m", "want a time such as 2m"},
	} {
		start(t, nil, strings.Fields(c.args)...).exits(exitUsage, "culvert: ", c.want)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	for _, command := range []string{"emulator", "local"} {
		start(t, nil, command, "--listen", address).exits(exitUnavailable, "cannot listen on "+address, "another program has this address", "--listen")
	}
}

func TestAMalformedConfigurationSaysWhere(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	for _, c := range []struct{ old, new, want string }{
		{"table: orders", "tabel: orders", `:4:3: tunnel: there is no setting "tabel"`},
		{"parallel: 4", "parallel: many", ":14:15: triggers[0].parallel"},
		{"parallel: 4", "filter: record.type != 'DeleteRow'", ":14:5: triggers[0].filter"}, // not yet
		{"  instance: local", "\tinstance: local", ":3:1: "},
	} {
		config := service.configuration(t, "http://127.0.0.1:1/", c.old, c.new)
		start(t, nil, "run", "--config", config).exits(exitUsage, "the configuration is wrong", config+c.want)
	}
}

func TestATunnelThatRefusesIsNamedWithAWayOut(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	for _, c := range []struct {
		old, new string
		want     []string
	}{
		{"access_key_secret: secret", "access_key_secret: another", []string{"ListTunnel", "HTTP 403", "access key"}},
		{"access_key_id: id", "access_key_id: another", []string{"HTTP 403", "another"}},
		{"instance: local", "instance: locale", []string{`"locale"`}},
		{"table: orders", "table: order", []string{"order", "table"}},
		{"name: orders-feed", "name: orders-fed", []string{"orders-fed", "tunnel.create"}},
	} {
		config := service.configuration(t, "http://127.0.0.1:1/", c.old, c.new)
		p := start(t, nil, "run", "--config", config)
		p.exits(exitUnavailable, c.want...)
		if strings.Contains(p.text(), "access_key_secret") || strings.Contains(p.text(), "secret another") {
			t.Error("it shows the configuration's secret")
		}
	}
}

func TestAHandlerThatDoesNotBuildOrStartIsShown(t *testing.T) {
	t.Parallel()
	start(t, nil, "local", "--once", "--handler", "testdata/broken").
		exits(exitUnavailable, "testdata/broken", "main.go:4:15: undefined: undefinedName")
	start(t, nil, "local", "--once", "--handler", "testdata/exits").
		exits(exitUnavailable, "no database at db.example:5432", "7")
	start(t, nil, "local", "--once", "--handler", "testdata/nowhere").
		exits(exitUnavailable, "testdata/nowhere", "no such file or directory")
}

func TestWithoutItsSourceLocalAsksForAHandler(t *testing.T) {
	t.Parallel()
	startIn(t, t.TempDir(), nil, "local", "--once").exits(exitUsage, "--handler DIR")
}

func TestAHandlerThatHangsIsShownAndTriedAgain(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	load := &load{t: t, service: service, samples: newSamples(1)}
	load.write(true)
	service.makeTunnel(t)
	config := service.configuration(t, "process:testdata/hangs", "timeout: 1s\n    batch", "timeout: 300ms\n    batch", "first: 10ms", "first: 100ms")
	p := start(t, nil, "run", "--config", config)
	p.awaits("waiting for a lock", "deadline", `attempt":2`)
	p.signal(syscall.SIGTERM)
	p.exits(exitDone)
	if remaining, err := service.Remaining(sampleTable, tunnelOf(sampleTable)); err != nil || remaining != 1 {
		t.Errorf("%d records remain (%v): the one that never succeeded must", remaining, err)
	}
}

func TestARedisThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	load := &load{t: t, service: service, samples: newSamples(1)}
	load.write(true)
	service.makeTunnel(t)
	address := freeAddress(t)
	config := service.configuration(t, "process:"+recorder, "tunnel:", "ledger: {redis: redis://:hidden@"+address+"}\ntunnel:")
	journals := t.TempDir()
	run := func() *process {
		p := start(t, []string{"CULVERT_JOURNAL=" + journals}, "run", "--config", config)
		p.awaits(address, "nothing begins until the ledger is there", `"asked_again_in":"500ms"`)
		return p
	}

	p := run()
	p.signal(syscall.SIGINT)
	p.exits(exitDone)
	if strings.Contains(p.text(), "hidden") {
		t.Error("it shows the password")
	}
	if files, err := os.ReadDir(journals); err != nil || len(files) > 0 {
		t.Errorf("something began: %v %v", files, err)
	}

	p = run()
	redis := miniredis.NewMiniRedis()
	redis.RequireAuth("hidden")
	if err := redis.StartAddr(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Close)
	waitUntil(t, func() bool {
		remaining, err := service.Remaining(sampleTable, tunnelOf(sampleTable))
		return err == nil && remaining == 0
	})
	p.signal(syscall.SIGINT)
	p.exits(exitDone)
}

func TestASecondInterruptLeavesAtOnceAndNothingBehind(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	load := &load{t: t, service: service, samples: newSamples(1)}
	load.write(true)
	service.makeTunnel(t)
	config := service.configuration(t, "process:testdata/hangs", "timeout: 1s\n    batch", "timeout: 60s\n    batch")
	for _, args := range [][]string{{"run", "--config", config}, {"local", "--handler", "testdata/hangs"}} {
		temp := t.TempDir()
		p := start(t, []string{"TMPDIR=" + temp}, args...)
		p.awaits("waiting for a lock")
		p.signal(syscall.SIGINT)
		p.awaits("interrupt again to leave at once")
		p.signal(syscall.SIGINT)
		p.exits(exitInterrupted)
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("culvert %s left %v (%v)", args[0], left, err)
		}
	}
}

func TestAnInterruptWhileTheHandlerIsBuiltOrStartedIsNoFailure(t *testing.T) {
	t.Parallel()
	service := startService(t, 1)
	service.makeTunnel(t)
	slow := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\necho preparing\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for awaited, args := range map[string][]string{
		"building the handler": {"local"}, // with an empty cache it takes a while
		"preparing":            {"run", "--config", service.configuration(t, "process:"+slow)},
	} {
		temp := t.TempDir()
		p := start(t, []string{"TMPDIR=" + temp, "GOCACHE=" + t.TempDir()}, args...)
		p.awaits(awaited)
		p.signal(syscall.SIGINT)
		p.exits(exitDone, "interrupted before anything began")
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("culvert %s left %v (%v)", args[0], left, err)
		}
	}
}

func TestLocalOnceDeliversAllThatItWrote(t *testing.T) {
	t.Parallel()
	summary := []string{
		"endpoint           http://127.0.0.1:", "tablestore.NewClient(",
		"summary, from the record of the handler's invocations", "written", "delivered", "invocations", "retries", "repeats", "seconds",
		"nothing lost, each key in order",
	}
	start(t, nil, "local", "--once").exits(exitDone, summary...)
	start(t, nil, "local", "--once", "--handler", recorder, "--orders", "40", "--seed", "7").exits(exitDone, summary...)
}

func TestLocalRunsUntilAnInterruptAndThenJudges(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "local", "--handler", recorder, "--orders", "30")
	p.awaits("from here on a change a second")
	p.signal(syscall.SIGINT)
	p.exits(exitDone, "nothing lost, each key in order")
}
