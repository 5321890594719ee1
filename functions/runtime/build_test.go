package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertio/culvert/functions/runtime"
)

// buildsNot returns the BuildError that the directory must bring.
func buildsNot(t *testing.T, ctx context.Context, dir string) *runtime.BuildError {
	t.Helper()
	binary, cleanup, err := runtime.Build(ctx, dir, "")
	cleanup()
	e, ok := errors.AsType[*runtime.BuildError](err)
	if !ok || binary != "" || e.Dir != dir || e.Hint == "" {
		t.Fatalf("Build(%s) = %q, %v; want a BuildError", dir, binary, err)
	}
	return e
}

func TestABuildErrorCarriesWhatTheCompilerPrinted(t *testing.T) {
	e := buildsNot(t, t.Context(), "testdata/broken")
	if !strings.Contains(e.Output, "main.go:3") || !strings.Contains(e.Error(), "undefined: undeclared") {
		t.Error(e)
	}
}

func TestADirectoryWithoutAProgramIsNotBuilt(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if e := buildsNot(t, t.Context(), missing); !errors.Is(e, os.ErrNotExist) {
		t.Error(e)
	}
	for dir, problem := range map[string]string{
		t.TempDir():        "no Go files",
		"build.go":         "not a directory",
		"testdata/library": "not a main package",
	} {
		if e := buildsNot(t, t.Context(), dir); !strings.Contains(e.Problem, problem) {
			t.Error(e)
		}
	}
}

func TestWithoutAGoCommandNothingIsBuilt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if e := buildsNot(t, t.Context(), "testdata/broken"); !strings.Contains(e.Problem, "no go command") {
		t.Error(e)
	}
}

func TestABuildThatIsBrokenOffLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("GOCACHE", t.TempDir()) // so that there is much to compile
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			if begun, err := filepath.Glob(filepath.Join(temp, "culvert-handler-*", "go-build*")); err != nil || len(begun) > 0 {
				cancel()
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	if e := buildsNot(t, ctx, "testdata/handlers/fcalone"); !errors.Is(e, context.Canceled) {
		t.Error(e)
	}
	cancel()
	watch.Wait()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
