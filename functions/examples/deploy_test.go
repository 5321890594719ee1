// Package examples holds handlers that are deployed by the project's s.yaml
// and template.yml, and the tests of those two files.
package examples

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const root = "../.."

// read decodes a file of the project's root. A key that the type has no field
// for fails the test: neither deployer notices a misspelt one.
func read[T any](t *testing.T, name string) T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := yaml.UnmarshalWithOptions(text, &v, yaml.DisallowUnknownField()); err != nil {
		t.Fatalf("%s: %s", name, yaml.FormatError(err, false, true))
	}
	return v
}

func isProgram(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\npackage main\n") {
		t.Errorf("%s is no program", dir)
	}
}

func TestServerlessDevsBuildsWhatItDeploys(t *testing.T) {
	type action struct{ Run, Path string }
	type props struct {
		Region       string `yaml:"region"`
		FunctionName string `yaml:"functionName"`
		Description  string `yaml:"description"`
		Runtime      string `yaml:"runtime"`
		Handler      string `yaml:"handler"`
		Code         string `yaml:"code"`
		CPU          float64
		MemorySize   int `yaml:"memorySize"`
		DiskSize     int `yaml:"diskSize"`
		Timeout      int `yaml:"timeout"`
	}
	file := read[struct {
		Edition, Name, Access string
		Resources             map[string]struct {
			Component string
			Actions   struct {
				PreDeploy []action `yaml:"pre-deploy"`
			}
			Props props
		}
	}](t, "s.yaml")

	orders, ok := file.Resources["orders"]
	if !ok || len(file.Resources) != 1 || file.Edition != "3.0.0" || orders.Component != "fc3" || len(orders.Actions.PreDeploy) != 1 {
		t.Fatalf("%+v", file)
	}
	p, build := orders.Props, orders.Actions.PreDeploy[0]
	isProgram(t, build.Path)
	if want := "GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go build -o target/" + p.Handler + " ."; build.Run != want {
		t.Errorf("the build is %q, want %q: the runtime starts the binary that the handler names", build.Run, want)
	}
	if want := path.Join(build.Path, "target"); path.Clean(p.Code) != want {
		t.Errorf("code is in %s, built into %s", p.Code, want)
	}
	if p.Runtime != "go1" || p.Region == "" || p.FunctionName == "" {
		t.Errorf("%+v", p)
	}
	if p.Timeout < 1 || p.Timeout > 86_400 || p.MemorySize < 128 || p.MemorySize%64 != 0 || p.CPU < 0.05 || p.CPU > 16 || p.DiskSize != 512 && p.DiskSize != 10_240 {
		t.Errorf("out of Function Compute's bounds: %+v", p)
	}
	// 1 to 4 GB of memory a core: the ratio that Function Compute accepts.
	if ratio := float64(p.MemorySize) / 1024 / p.CPU; ratio < 1 || ratio > 4 {
		t.Errorf("%d MB to %v cores", p.MemorySize, p.CPU)
	}
}

func TestSAMBuildsWhatItDeploys(t *testing.T) {
	type properties struct {
		Description   string   `yaml:"Description"`
		CodeURI       string   `yaml:"CodeUri"`
		Runtime       string   `yaml:"Runtime"`
		Handler       string   `yaml:"Handler"`
		Architectures []string `yaml:"Architectures"`
		MemorySize    int      `yaml:"MemorySize"`
		Timeout       int      `yaml:"Timeout"`
	}
	file := read[struct {
		Version     string `yaml:"AWSTemplateFormatVersion"`
		Transform   string `yaml:"Transform"`
		Description string `yaml:"Description"`
		Resources   map[string]struct {
			Type     string `yaml:"Type"`
			Metadata struct {
				BuildMethod string `yaml:"BuildMethod"`
			} `yaml:"Metadata"`
			Properties properties `yaml:"Properties"`
		} `yaml:"Resources"`
		Outputs map[string]any `yaml:"Outputs"`
	}](t, "template.yml")

	orders, ok := file.Resources["Orders"]
	if !ok || len(file.Resources) != 1 || file.Transform != "AWS::Serverless-2016-10-31" || orders.Type != "AWS::Serverless::Function" {
		t.Fatalf("%+v", file)
	}
	p := orders.Properties
	isProgram(t, p.CodeURI)
	if orders.Metadata.BuildMethod != "go1.x" || p.Runtime != "provided.al2023" || p.Handler != "bootstrap" {
		t.Errorf("%+v", orders)
	}
	if p.Timeout < 1 || p.Timeout > 900 || p.MemorySize < 128 || p.MemorySize > 10_240 {
		t.Errorf("out of Lambda's bounds: %+v", p)
	}
}
