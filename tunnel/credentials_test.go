package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func clearEnvironment(t *testing.T) {
	for _, name := range []string{envKeyID, envKeySecret, envToken, envOTSID, envOTSSecret} {
		t.Setenv(name, "")
	}
}

func TestTheEnvironmentGivesCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want Credentials
	}{
		"common": {
			map[string]string{envKeyID: "id", envKeySecret: "secret"},
			Credentials{AccessKeyID: "id", AccessKeySecret: "secret"},
		},
		"temporary": {
			map[string]string{envKeyID: "id", envKeySecret: "secret", envToken: "token"},
			Credentials{AccessKeyID: "id", AccessKeySecret: "secret", SecurityToken: "token"},
		},
		"Tablestore's own, without the others' token": {
			map[string]string{envOTSID: "id", envOTSSecret: "secret", envToken: "token"},
			Credentials{AccessKeyID: "id", AccessKeySecret: "secret"},
		},
		"both: the common ones": {
			map[string]string{envOTSID: "other", envOTSSecret: "other", envKeyID: "id", envKeySecret: "secret"},
			Credentials{AccessKeyID: "id", AccessKeySecret: "secret"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			got, err := EnvironmentCredentials().Credentials(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %v, %q, %q", got, got.AccessKeySecret, got.SecurityToken)
			}
		})
	}
}

func TestMissingCredentialsNameTheVariables(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"none":           {nil, []string{envKeyID, envKeySecret, envOTSID, envOTSSecret}},
		"no secret":      {map[string]string{envKeyID: "id"}, []string{envKeySecret}},
		"no id":          {map[string]string{envKeySecret: "s3cr3t"}, []string{envKeyID}},
		"no secret, OTS": {map[string]string{envOTSID: "id"}, []string{envOTSSecret}},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			_, err := EnvironmentCredentials().Credentials(t.Context())
			if !errors.Is(err, ErrNoCredentials) || !Fatal(err) || Retryable(err) {
				t.Errorf("%v: want a fatal ErrNoCredentials", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: does not name %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%v: tells the secret", err)
			}
		})
	}
}

func TestCredentialsThatNoHeaderCanCarryAreRefusedByName(t *testing.T) {
	for _, c := range []Credentials{
		{AccessKeyID: "", AccessKeySecret: "s3cr3t"},
		{AccessKeyID: "id", AccessKeySecret: ""},
		{AccessKeyID: "id\n", AccessKeySecret: "s3cr3t"},
		{AccessKeyID: "id", AccessKeySecret: " s3cr3t"},
		{AccessKeyID: "id", AccessKeySecret: "s3cr3t", SecurityToken: "s3cr3t\r"},
	} {
		err := c.check()
		if !errors.Is(err, ErrNoCredentials) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%v: %v", c, err)
		}
	}
	if err := (Credentials{AccessKeyID: "id", AccessKeySecret: "secret/+=", SecurityToken: "t"}).check(); err != nil {
		t.Error(err)
	}
}

func TestSecretsArePrintedNowhere(t *testing.T) {
	creds := Credentials{AccessKeyID: "LTAI5t", AccessKeySecret: "s3cr3t", SecurityToken: "t0ken"}
	provider := StaticCredentials(creds.AccessKeyID, creds.AccessKeySecret, creds.SecurityToken)
	cfg := ClientConfig{Endpoint: "http://localhost", Instance: "i", Credentials: provider}
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	type nested struct {
		Exported Credentials
		Provider CredentialsProvider
		hidden   CredentialsProvider
	}
	var out bytes.Buffer
	for _, v := range []any{creds, &creds, provider, cfg, &cfg, client, nested{creds, provider, provider}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("x", "v", v)
		}
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
	}
	if text := out.String(); strings.Contains(text, "s3cr3t") || strings.Contains(text, "t0ken") {
		t.Error("a secret is printed:")
		for line := range strings.Lines(text) {
			if strings.Contains(line, "s3cr3t") || strings.Contains(line, "t0ken") {
				t.Log(line)
			}
		}
	}
	if !strings.Contains(out.String(), "LTAI5t") {
		t.Error("the access key ID, which is no secret, is hidden too")
	}
}
