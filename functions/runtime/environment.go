package runtime

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// withheld are the variables of this process's own environment that speak of a
// platform which is not there.
var withheld = []string{
	"FC_RUNTIME_API", "AWS_LAMBDA_RUNTIME_API", "_LAMBDA_SERVER_PORT", "AWS_LAMBDA_MAX_CONCURRENCY",
}

// environment is what a process is given, see [Config.Env], but for what says
// how it gets its events. In a list of variables, later entries win.
func (c *crew) environment(slot int) []string {
	cfg := c.r.cfg
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(withheld, name)
	})
	env = append(env, cfg.Env...)
	if cfg.Journal != "" {
		env = append(env, "CULVERT_JOURNAL=")
	}
	return append(env,
		"FC_FUNCTION_NAME="+cfg.Name,
		"FC_FUNCTION_HANDLER="+filepath.Base(c.command[0]),
		"FC_FUNCTION_MEMORY_SIZE="+memory,
		fmt.Sprintf("FC_INSTANCE_ID=%s-%d", cfg.Name, slot),
		"FC_REGION="+region,
		"FC_QUALIFIER="+qualifier,
	)
}

// lambdaEnvironment is what Lambda says to an instance. A region that the
// environment names stays: the handler may use it to find other services.
func (c *crew) lambdaEnvironment(env []string) []string {
	cfg := c.r.cfg
	root, err := filepath.Abs(cfg.Dir)
	if err != nil { // there is no working directory
		root = cfg.Dir
	}
	return []string{
		"AWS_LAMBDA_FUNCTION_NAME=" + cfg.Name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + memory,
		"AWS_LAMBDA_FUNCTION_VERSION=" + lambdaVersion,
		"AWS_REGION=" + regionIn(env),
		"_HANDLER=" + filepath.Base(c.command[0]),
		"LAMBDA_TASK_ROOT=" + root,
	}
}

func regionIn(env []string) string {
	return cmp.Or(variable(env, "AWS_REGION"), variable(env, "AWS_DEFAULT_REGION"), lambdaRegion)
}

// variable is its value in env, empty if it is not set.
func variable(env []string, name string) string {
	for _, entry := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
