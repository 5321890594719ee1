package invoke

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"go.uber.org/goleak"
)

// roleVariable makes this test binary a handler: one less to build.
const roleVariable = "CULVERT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "hang":
		fc.Start(func(context.Context, map[string]any) error {
			fmt.Println("hanging")
			select {}
		})
	case "pid":
		fc.Start(func(context.Context, map[string]any) (int, error) { return os.Getpid(), nil })
	case "exit":
		fmt.Println("no configuration")
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}
