package sign

import (
	"net/http"
	"slices"
	"testing"
)

// The vectors are requests that the official Go SDK v1.7.17 sent.
func TestRequestsAreSignedAsTheOfficialSDKSignsThem(t *testing.T) {
	for _, tt := range []struct {
		name, secret, path string
		header             map[string]string
	}{
		{"table", "secret", "/ListTable", map[string]string{
			"x-ots-accesskeyid":  "id",
			"x-ots-apiversion":   "2015-12-31",
			"x-ots-contentmd5":   "1B2M2Y8AsgTpgAmY7PhCfg==",
			"x-ots-date":         "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename": "local",
			"x-ots-signature":    "Rm9z4LtEHtdJZi4BX92+zK/6Odk=",
		}},
		{"table, security token", "s3cr3t/+=", "/DescribeTable", map[string]string{
			"x-ots-accesskeyid":  "LTAI5t",
			"x-ots-apiversion":   "2015-12-31",
			"x-ots-contentmd5":   "pkNMW32nkvbj0+LcE2Perg==",
			"x-ots-date":         "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename": "shop",
			"x-ots-signature":    "bjC9OZh0ByHE1KGBOOd7BBo0HLY=",
			"x-ots-ststoken":     "CAIS0token",
		}},
		{"table, optional headers", "s3cr3t/+=", "/DescribeTable", map[string]string{
			"x-ots-accesskeyid":           "LTAI5t",
			"x-ots-apiversion":            "2015-12-31",
			"x-ots-contentmd5":            "pkNMW32nkvbj0+LcE2Perg==",
			"x-ots-date":                  "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename":          "shop",
			"x-ots-issecuretransport":     "true",
			"x-ots-request-compress-type": "zlib",
			"x-ots-signature":             "PiuWooMY5OArAh9o9MH97+aWfog=",
			"x-ots-sourceip":              "10.0.0.7",
			"x-ots-tunnel-type":           "public",
		}},
		{"tunnel", "secret", "/tunnel/list", map[string]string{
			"x-ots-accesskeyid":  "id",
			"x-ots-apiversion":   "2018-04-01",
			"x-ots-contentmd5":   "pkNMW32nkvbj0+LcE2Perg==",
			"x-ots-date":         "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename": "local",
			"x-ots-signature":    "sqXlDyxvB46if3y7MbE4QwOOqQc=",
			"x-ots-trace-id":     "d1da1f4d-1000-4eb4-9643-025542decb0a",
		}},
		{"tunnel, security token", "s3cr3t/+=", "/tunnel/getcheckpoint", map[string]string{
			"x-ots-accesskeyid":  "LTAI5t",
			"x-ots-apiversion":   "2018-04-01",
			"x-ots-contentmd5":   "uO6BUohBJIntukMTWFQJyQ==",
			"x-ots-date":         "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename": "shop",
			"x-ots-signature":    "s+fx8nB7IeAIq4aYLl3Gdan51AY=",
			"x-ots-ststoken":     "CAIS0token",
			"x-ots-trace-id":     "b571e2ec-b2d0-4ebb-9d32-a89084ae1a2b",
		}},
		{"tunnel, optional headers", "s3cr3t/+=", "/tunnel/getcheckpoint", map[string]string{
			"x-ots-accesskeyid":       "LTAI5t",
			"x-ots-apiversion":        "2018-04-01",
			"x-ots-contentmd5":        "uO6BUohBJIntukMTWFQJyQ==",
			"x-ots-date":              "2026-11-21T20:31:46.11218Z",
			"x-ots-instancename":      "shop",
			"x-ots-issecuretransport": "true",
			"x-ots-signature":         "391dgtUQAihXUerLeHdBtzf+O6c=",
			"x-ots-sourceip":          "10.0.0.7",
			"x-ots-trace-id":          "24deb775-b9d5-436e-ada5-fb697eb4ee05",
			"x-ots-tunnel-type":       "public",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := make(http.Header)
			for k, v := range tt.header {
				h.Set(k, v)
			}
			h.Set("User-Agent", "not signed")
			api := API(h.Get(APIVersion))
			if got, want := Request(api, tt.secret, tt.path, h), h.Get(Signature); got != want {
				t.Errorf("signature %s, want %s", got, want)
			}
			if !Verify(api, tt.secret, tt.path, h) {
				t.Error("the right signature is refused")
			}
			if Verify(api, tt.secret+"x", tt.path, h) {
				t.Error("another secret is accepted")
			}
			if Verify(api, tt.secret, tt.path+"x", h) {
				t.Error("another path is accepted")
			}
			h.Set(InstanceName, "other")
			if Verify(api, tt.secret, tt.path, h) {
				t.Error("a changed header is accepted")
			}
		})
	}
}

func TestSignedNamesAreSorted(t *testing.T) {
	if !slices.IsSorted(tunnelNames[:]) || !slices.IsSorted(tableNames[:]) {
		t.Error("the service sorts the signed headers by name")
	}
}
