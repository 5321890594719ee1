// Package sign computes the signature that Tablestore's APIs ask of a
// request. A client writes it into the [Signature] header, a server computes
// it again and compares.
package sign

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
)

// API names one of the APIs by its version, the value of the [APIVersion]
// header. They differ in which headers they sign.
type API string

const (
	Tunnel API = "2018-04-01"
	Table  API = "2015-12-31"
)

// Headers of requests, but for RequestID, which answers carry.
const (
	AccessKeyID   = "x-ots-accesskeyid"
	APIVersion    = "x-ots-apiversion"
	ContentMD5    = "x-ots-contentmd5" // base64 of the body's MD5
	Date          = "x-ots-date"       // see DateLayout
	InstanceName  = "x-ots-instancename"
	RequestID     = "x-ots-requestid"
	SecurityToken = "x-ots-ststoken" // only with temporary credentials
	Signature     = "x-ots-signature"
	TraceID       = "x-ots-trace-id" // tunnel API only; a UUID
)

// DateLayout writes the [Date] header, in UTC. A server must accept any
// fraction of a second: the official Go client's layout is not a Go layout
// and writes others.
const DateLayout = "2006-01-02T15:04:05.000Z"

// The signed names of each API, sorted. The signature itself is not signed.
var (
	tunnelNames = [...]string{
		AccessKeyID,
		APIVersion,
		ContentMD5,
		Date,
		InstanceName,
		"x-ots-issecuretransport",
		"x-ots-request-compress-size",
		"x-ots-request-compress-type",
		"x-ots-response-compress-type",
		"x-ots-sourceip",
		SecurityToken,
		TraceID,
		"x-ots-tunnel-type",
	}
	tableNames = [...]string{
		AccessKeyID,
		"x-ots-admin-target-userid",
		"x-ots-admin-task-type",
		APIVersion,
		"x-ots-charge-for-admin",
		ContentMD5,
		Date,
		InstanceName,
		"x-ots-issecuretransport",
		"x-ots-playeraccountid",
		"x-ots-request-compress-size",
		"x-ots-request-compress-type",
		"x-ots-request-priority",
		"x-ots-request-tag",
		"x-ots-response-compress-type",
		"x-ots-sdk-traceid",
		"x-ots-sourceip",
		SecurityToken,
		"x-ots-tunnel-type",
	}
)

// Request is the signature of a POST to path (the URL's path alone, with its
// leading slash) with header h, as the API asks for it: base64 of the
// HMAC-SHA1 of the path, the method and the signed headers that are there. An
// unknown API is signed as [Table].
func Request(api API, secret, path string, h http.Header) string {
	names := tableNames[:]
	if api == Tunnel {
		names = tunnelNames[:]
	}
	mac := hmac.New(sha1.New, []byte(secret))
	// The third line is the query, which is always empty.
	mac.Write([]byte(path + "\nPOST\n\n"))
	for _, name := range names {
		if v := h.Get(name); v != "" {
			mac.Write([]byte(name + ":" + strings.TrimSpace(v) + "\n"))
		}
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Verify says whether h carries the signature that [Request] computes. It
// takes the same time for a wrong signature as for a right one.
func Verify(api API, secret, path string, h http.Header) bool {
	return hmac.Equal([]byte(h.Get(Signature)), []byte(Request(api, secret, path, h)))
}
