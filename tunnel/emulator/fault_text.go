package emulator

import (
	"fmt"
	"strconv"
	"strings"
)

// faultNames are the words of a fault as text.
const faultNames = "kind, call, rate, count, code, status, delay, records, bytes, step"

// ParseFault reads a fault as flags give it: NAME=VALUE, with commas between,
// by the names of the fields in JSON; call may come more than once. Without a
// kind it is an error. An example:
//
//	rate=0.1,call=ReadRecords,code=OTSTunnelServerUnavailable
//	kind=latency,delay=20ms..2s,call=Heartbeat,call=Checkpoint,count=10
//
// The error names all that is wrong, and what there is.
func ParseFault(text string) (Fault, error) {
	f := Fault{Kind: FaultError}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return Fault{}, fmt.Errorf("emulator: fault %q: %q is not NAME=VALUE; there are %s", text, part, faultNames)
		}
		var err error
		switch name {
		case "kind":
			f.Kind = FaultKind(value)
		case "call":
			f.Calls = append(f.Calls, value)
		case "rate":
			if f.Rate, err = strconv.ParseFloat(value, 64); err == nil && f.Rate == 0 {
				err = fmt.Errorf("a fault of rate 0 never happens")
			}
		case "count":
			f.Count, err = strconv.Atoi(value)
		case "code":
			f.Code = value
		case "status":
			f.Status, err = strconv.Atoi(value)
		case "delay":
			err = f.Delay.UnmarshalText([]byte(value))
		case "records":
			f.Records, err = strconv.Atoi(value)
		case "bytes":
			f.Bytes, err = strconv.Atoi(value)
		case "step":
			err = f.Step.UnmarshalText([]byte(value))
		default:
			return Fault{}, fmt.Errorf("emulator: fault %q: there is no %q; there are %s", text, name, faultNames)
		}
		if err != nil {
			return Fault{}, fmt.Errorf("emulator: fault %q: %s: %w", text, name, err)
		}
	}
	if err := f.validate(CallNames()); err != nil {
		return Fault{}, fmt.Errorf("emulator: fault %q: %w", text, err)
	}
	return f, nil
}
