package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Credentials sign a request. SecurityToken is empty but for temporary ones.
//
// They print, log and marshal as the access key ID alone.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string
}

// String names the access key ID and says that the rest is hidden.
func (c Credentials) String() string {
	if c.SecurityToken != "" {
		return fmt.Sprintf("access key %s (secret and security token hidden)", c.AccessKeyID)
	}
	return fmt.Sprintf("access key %s (secret hidden)", c.AccessKeyID)
}

// GoString, LogValue and MarshalText keep the secret out of %#v, log/slog and
// JSON.
func (c Credentials) GoString() string             { return "tunnel.Credentials{" + c.String() + "}" }
func (c Credentials) LogValue() slog.Value         { return slog.StringValue(c.String()) }
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// check says what keeps c from signing. Spaces and control characters are
// refused here because a header would carry them changed, and the signature
// would then fail for no visible reason.
func (c Credentials) check() error {
	var errs []error
	for _, f := range []struct {
		name, value string
		required    bool
	}{
		{"access key ID", c.AccessKeyID, true},
		{"access key secret", c.AccessKeySecret, true},
		{"security token", c.SecurityToken, false},
	} {
		switch {
		case f.value == "" && f.required:
			errs = append(errs, fmt.Errorf("%w: the %s is empty", ErrNoCredentials, f.name))
		case strings.ContainsFunc(f.value, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			errs = append(errs, fmt.Errorf("%w: the %s has a space, a line's end or another character that no %[2]s has", ErrNoCredentials, f.name))
		}
	}
	return errors.Join(errs...)
}

// CredentialsProvider gives the credentials to sign the next request with. It
// is called for every request, from many goroutines, and must not block for
// long. One that is a [fmt.Stringer] too says with it where its credentials
// come from; hints to the operator quote that.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// ErrNoCredentials means that there is nothing fit to sign a request with.
var ErrNoCredentials = errors.New("no credentials")

// StaticCredentials always gives these. securityToken is empty for lasting
// credentials.
func StaticCredentials(accessKeyID, accessKeySecret, securityToken string) CredentialsProvider {
	c := Credentials{
		AccessKeyID:     accessKeyID,
		AccessKeySecret: accessKeySecret,
		SecurityToken:   securityToken,
	}
	return &staticCredentials{func() Credentials { return c }}
}

// A closure keeps the secret: fmt calls no method on what is in an unexported
// field, and prints all but what a function holds.
type staticCredentials struct{ get func() Credentials }

func (s *staticCredentials) Credentials(context.Context) (Credentials, error) { return s.get(), nil }
func (s *staticCredentials) String() string                                   { return "the configuration" }
func (s *staticCredentials) GoString() string                                 { return s.get().GoString() }
func (s *staticCredentials) LogValue() slog.Value                             { return s.get().LogValue() }

// The environment variables of [EnvironmentCredentials]. The first set is the
// one of all Alibaba Cloud SDKs, the second the one of Tablestore's own tools.
const (
	envKeyID     = "ALIBABA_CLOUD_ACCESS_KEY_ID"
	envKeySecret = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
	envToken     = "ALIBABA_CLOUD_SECURITY_TOKEN"
	envOTSID     = "OTS_AK_ENV"
	envOTSSecret = "OTS_SK_ENV"
)

// EnvironmentCredentials reads ALIBABA_CLOUD_ACCESS_KEY_ID,
// ALIBABA_CLOUD_ACCESS_KEY_SECRET and, if it is set,
// ALIBABA_CLOUD_SECURITY_TOKEN; where the first two are not set, OTS_AK_ENV
// and OTS_SK_ENV. It reads them anew each time. If neither pair is set, or
// half of one, the error is an [ErrNoCredentials] that names the variables.
func EnvironmentCredentials() CredentialsProvider { return environment{} }

type environment struct{}

func (environment) String() string { return "the environment" }

func (environment) Credentials(context.Context) (Credentials, error) {
	for _, v := range []struct{ id, secret, token string }{
		{envKeyID, envKeySecret, envToken},
		{envOTSID, envOTSSecret, ""},
	} {
		id, secret := os.Getenv(v.id), os.Getenv(v.secret)
		switch {
		case id == "" && secret == "":
			continue
		case id == "":
			return Credentials{}, fmt.Errorf("%w: %s is set but %s is not", ErrNoCredentials, v.secret, v.id)
		case secret == "":
			return Credentials{}, fmt.Errorf("%w: %s is set but %s is not", ErrNoCredentials, v.id, v.secret)
		}
		c := Credentials{AccessKeyID: id, AccessKeySecret: secret}
		if v.token != "" {
			c.SecurityToken = os.Getenv(v.token)
		}
		return c, nil
	}
	return Credentials{}, fmt.Errorf("%w: set %s and %s, or %s and %s",
		ErrNoCredentials, envKeyID, envKeySecret, envOTSID, envOTSSecret)
}

// origin says where p's credentials come from.
func origin(p CredentialsProvider) string {
	if s, ok := p.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", p)
}
