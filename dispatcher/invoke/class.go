package invoke

import (
	"fmt"
	"net/http"
)

// String is the class's name in logs.
func (c Class) String() string {
	switch c {
	case Done:
		return "done"
	case FunctionFailed:
		return "function failed"
	case TimedOut:
		return "timed out"
	case Throttled:
		return "throttled"
	case Unreachable:
		return "unreachable"
	case MayHaveRun:
		return "may have run"
	case Broken:
		return "broken"
	case Refused:
		return "refused"
	}
	return fmt.Sprintf("Class(%d)", int(c))
}

// classOfStatus says what an HTTP status tells of an attempt, and hint what
// the operator can do about it.
//
// A gateway's 502 and 504 do not say whether the function behind it ran. They
// are not the function's own failures: a gateway that is ill must not use up
// the attempts of a backlog.
func classOfStatus(status int) (class Class, hint string) {
	switch {
	case status >= 200 && status < 300:
		return Done, ""
	case status >= 300 && status < 400:
		return Broken, "redirects are not followed: give the final URL"
	}
	switch status {
	case http.StatusTooManyRequests:
		return Throttled, ""
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return Refused, "the function does not take this payload: look at its size and at what the function expects"
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired:
		return Broken, "the function does not let this dispatcher in: look at the credentials in its URL"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone,
		http.StatusUnsupportedMediaType, http.StatusUpgradeRequired, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return Broken, "the URL does not lead to a function that takes POST requests in the trigger's format"
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusServiceUnavailable:
		return Unreachable, "the server in front of the function turned the request away"
	case 499, http.StatusBadGateway, http.StatusGatewayTimeout:
		return MayHaveRun, "the gateway got no answer from the function"
	}
	return FunctionFailed, ""
}
