package emulator

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/culvertio/culvert/tunnel/internal/sign"
)

// maxSkew is how far a signed request's date may be from the server's, as the
// service's own clients allow its answers.
const maxSkew = 15 * time.Minute

// authorize judges a request's headers: what every request must say, and with
// credentials configured, who signed it.
func (e *Emulator) authorize(api sign.API, r *http.Request, body []byte) error {
	must := []string{sign.APIVersion, sign.InstanceName, sign.ContentMD5}
	if e.config.AccessKeySecret != "" {
		must = append(must, sign.AccessKeyID, sign.Date, sign.Signature)
	}
	for _, name := range must {
		if r.Header.Get(name) == "" {
			return failf(codeMissingHeader, "Missing header: '%s'.", name)
		}
	}
	header := func(name string) string { return strings.ToValidUTF8(r.Header.Get(name), "?") }
	if v := header(sign.APIVersion); v != string(api) {
		return failf(codeParameterInvalid, "Invalid API version: %s has %s, not %s.", r.URL.Path, api, v)
	}
	if name := header(sign.InstanceName); name != e.config.Instance {
		return failf(codeAuthFailed, "The instance is not found: this is %s, not %s.", e.config.Instance, name)
	}
	sum := md5.Sum(body)
	if r.Header.Get(sign.ContentMD5) != base64.StdEncoding.EncodeToString(sum[:]) {
		return failf(codeAuthFailed, "Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
	}
	for _, name := range []string{"x-ots-request-compress-type", "x-ots-request-compress-size"} {
		if r.Header.Get(name) != "" {
			return unsupported("compressed requests (header " + name + ")")
		}
	}
	if e.config.AccessKeySecret == "" {
		return nil
	}
	if id := header(sign.AccessKeyID); id != e.config.AccessKeyID {
		return failf(codeAuthFailed, "The AccessKeyID does not exist: %s.", id)
	}
	if !sign.Verify(api, e.config.AccessKeySecret, r.URL.Path, r.Header) {
		return failf(codeAuthFailed, "Signature mismatch: the request was not signed with the secret of AccessKeyID %s.", e.config.AccessKeyID)
	}
	// Any fraction will do: the official Go client's is not of three digits.
	date, err := time.Parse(time.RFC3339Nano, r.Header.Get(sign.Date))
	if err != nil {
		return failf(codeParameterInvalid, "Invalid date format: %s.", header(sign.Date))
	}
	if time.Since(date).Abs() > maxSkew {
		return failf(codeAuthFailed, "Mismatch between system time and x-ots-date: %s.", header(sign.Date))
	}
	return nil
}

// signAnswer signs an answer as the table API's clients expect it: its x-ots-
// headers as sorted lines, then the path.
func signAnswer(secret, path string, h http.Header) string {
	var lines []string
	for name := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ots-") {
			lines = append(lines, lower+":"+strings.TrimSpace(h.Get(name))+"\n")
		}
	}
	slices.Sort(lines)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.Join(lines, "") + path))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
