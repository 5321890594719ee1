package invoke

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/culvertio/culvert/functions/runtime"
)

// CheckFunction says what is wrong with how a configuration names a
// function, or nil: http://…, https://…, process:PATH or command:COMMAND. It
// looks at nothing but the text, and its error does not quote it: there may be
// a password in it.
func CheckFunction(function string) error {
	scheme, rest, found := strings.Cut(function, ":")
	if !found {
		return errors.New("not a function: write http://HOST/PATH, https://HOST/PATH, process:PATH or command:COMMAND")
	}
	switch scheme {
	case "http", "https":
		_, err := parseURL(function)
		return err
	case "process":
		if rest == "" {
			return errors.New("process: names no handler: write process:PATH, a directory of Go source or an executable")
		}
		return nil
	case "command":
		_, err := SplitCommand(rest)
		return err
	case "fc", "lambda":
		return fmt.Errorf("%s:// functions are not yet supported: http://, https://, process: and command: are", scheme)
	}
	return errors.New("not a function that can be invoked: write http://HOST/PATH, https://HOST/PATH, process:PATH or command:COMMAND")
}

// MostAtOnce is how many invocations of a function may be under way: handler
// processes take one each.
func MostAtOnce(function string) int {
	if strings.HasPrefix(function, "process:") || strings.HasPrefix(function, "command:") {
		return runtime.MostProcesses
	}
	return 10_000
}

// parseURL reads the URL of an HTTP function.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		// Neither the URL nor url.Parse's error, which quotes it, is shown.
		return nil, errors.New("not a URL of a function: write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
	}
	return u, nil
}
