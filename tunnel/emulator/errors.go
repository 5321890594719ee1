package emulator

import (
	"fmt"
	"net/http"
)

// Error is an error of the service, as calls answer it on the wire.
type Error struct {
	Code    string // such as OTSObjectNotExist
	Message string

	status int // of the HTTP answer; 0: the code's
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// The codes. Those of the tunnel API that clients act upon are in the
// reference of the tunnel package; the table API's are in the service's
// document of error codes.
const (
	codeAuthFailed         = "OTSAuthFailed"
	codeConditionCheckFail = "OTSConditionCheckFail"
	codeDataOutOfRange     = "OTSDataOutOfRange"
	codeInternal           = "OTSInternalServerError"
	codeInvalidPK          = "OTSInvalidPK"
	codeMethodNotAllowed   = "OTSMethodNotAllowed"
	codeMissingHeader      = "OTSMissingHeader"
	codeObjectAlreadyExist = "OTSObjectAlreadyExist"
	codeObjectNotExist     = "OTSObjectNotExist"
	codeParameterInvalid   = "OTSParameterInvalid"
	codeBodyTooLarge       = "OTSRequestBodyTooLarge"
	codeResourceGone       = "OTSResourceGone"
	codeSequenceNotMatch   = "OTSSequenceNumberNotMatch"
	codeServerUnavailable  = "OTSServerUnavailable"
	codeTrimmed            = "OTSTrimmedDataAccess"
	codeTunnelExist        = "OTSTunnelExist"
	codeTunnelExpired      = "OTSTunnelExpired"
	codeTunnelUnavailable  = "OTSTunnelServerUnavailable"
	codeUnsupported        = "OTSUnsupportOperation"
)

// statuses holds each code's HTTP status. The tunnel API's are a guess: its
// clients look at the code alone.
var statuses = map[string]int{
	codeAuthFailed:         http.StatusForbidden,
	codeConditionCheckFail: http.StatusForbidden,
	codeDataOutOfRange:     http.StatusBadRequest,
	codeInternal:           http.StatusInternalServerError,
	codeInvalidPK:          http.StatusBadRequest,
	codeMethodNotAllowed:   http.StatusMethodNotAllowed,
	codeMissingHeader:      http.StatusBadRequest,
	codeObjectAlreadyExist: http.StatusConflict,
	codeObjectNotExist:     http.StatusNotFound,
	codeParameterInvalid:   http.StatusBadRequest,
	codeBodyTooLarge:       http.StatusRequestEntityTooLarge,
	codeResourceGone:       http.StatusGone,
	codeSequenceNotMatch:   http.StatusConflict,
	codeServerUnavailable:  http.StatusServiceUnavailable,
	codeTrimmed:            http.StatusNotFound,
	codeTunnelExist:        http.StatusConflict,
	codeTunnelExpired:      http.StatusBadRequest,
	codeTunnelUnavailable:  http.StatusServiceUnavailable,
	codeUnsupported:        http.StatusBadRequest,
}

// httpStatus is the status of the answer that tells the error.
func (e *Error) httpStatus() int {
	if e.status != 0 {
		return e.status
	}
	if status, ok := statuses[e.Code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// failf makes an error.
func failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// unsupported refuses something that the service can do and the emulator
// cannot.
func unsupported(what string) *Error {
	return failf(codeUnsupported, "The emulator does not support %s.", what)
}

func errClosed() *Error {
	return failf(codeServerUnavailable, "The emulator has been closed.")
}
