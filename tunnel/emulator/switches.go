package emulator

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Switches choose how the emulator behaves where nobody here knows what the
// real service does. The zero value is the emulator's habit; every other
// setting is one that a consumer should bear as well. With every combination,
// a channel's log keeps its order, each of its records can be read until it is
// committed, and two clients are never told at the same time that a channel is
// theirs.
//
// A switch is named by the name that its field has in JSON, in flags and in
// the control API too. [Config].Switches sets them from the start,
// [Emulator.SetSwitches] at any time.
type Switches struct {
	// EpochRises counts up the epoch of stream records: with each step of the
	// clock, and from a partition to those it is split into. Off: it is 0.
	EpochRises bool `json:"epoch-rises"`

	// TimestampsStepBack stamps changes with the time of day as it is, so that
	// they go back with the clock, and every fourth of a log 10 ms earlier.
	// Off: a change is never stamped before the one ahead of it.
	TimestampsStepBack bool `json:"timestamps-step-back"`

	// EqualPositions stamps changes in whole milliseconds and leaves their row
	// index at 0, so that those of one millisecond have one position. Off: no
	// two positions of a log are equal.
	EqualPositions bool `json:"equal-positions"`

	// ForeignGetCheckpoint, ForeignCheckpoint and ForeignReadRecords answer
	// the call though the client does not hold the channel: another has it, it
	// was given back, or the client itself is gone. A Checkpoint still needs
	// the right sequence number. Off: OTSResourceGone.
	ForeignGetCheckpoint bool `json:"foreign-get-checkpoint"`
	ForeignCheckpoint    bool `json:"foreign-checkpoint"`
	ForeignReadRecords   bool `json:"foreign-read-records"`

	// MoveKeepsVersion leaves a channel's version as it is when the channel is
	// taken from a client or handed to one. What a client reports, and asking
	// a channel back, still raise it by one. Off: every change does.
	MoveKeepsVersion bool `json:"move-keeps-version"`

	// MoveSkipsClosing hands a channel from one client to another at once: the
	// former holder learns of it when a heartbeat no longer lists the channel,
	// or a call is refused. Off: it is asked back through CLOSING first.
	MoveSkipsClosing bool `json:"move-skips-closing"`

	// ClosingReopens calls off every other asking back: if the holder's next
	// heartbeat does not give the channel back yet, it is OPEN again in the
	// answer. Off: what is asked back stays CLOSING until it is given back.
	ClosingReopens bool `json:"closing-reopens"`

	// ScheduleRefusesTerminated refuses a Schedule call that sets channels
	// TERMINATED, with OTSParameterInvalid. Off: such a channel ends where it
	// stands and its children open.
	ScheduleRefusesTerminated bool `json:"schedule-refuses-terminated"`

	// TerminatedIsTold lists a channel that Schedule has set TERMINATED as
	// such to the client that held it, until that client's next heartbeat no
	// longer names it. Off: it is no longer listed.
	TerminatedIsTold bool `json:"terminated-is-told"`

	// OpenUnlisted leaves an OPEN channel out of one answer to its holder's
	// heartbeats, the fifth since the channel was handed out, though the client
	// still holds it. Off: it is listed always.
	OpenUnlisted bool `json:"open-unlisted"`

	// FinishedAlone answers the token of a channel's end on a page without
	// records. Off: on the page of the last ones.
	FinishedAlone bool `json:"finished-alone"`

	// BaseUnordered gives the rows of base data in an order of its own, which
	// is always the same, rather than that of their keys. It is looked at when
	// a tunnel is made.
	BaseUnordered bool `json:"base-unordered"`

	// EarlyHeartbeats says what becomes of a heartbeat that comes within a
	// tenth of the client's timeout, at most 5 s, of the last that was taken.
	EarlyHeartbeats EarlyHeartbeats `json:"early-heartbeats"`

	// HandOutAtHeartbeat gives a new client channels from its first heartbeat
	// on. Off: they are its own as soon as it has connected.
	HandOutAtHeartbeat bool `json:"hand-out-at-heartbeat"`

	// WrongChecksums answers rows whose checksum is wrong, which the official
	// clients do not notice. Off: it is right.
	WrongChecksums bool `json:"wrong-checksums"`
}

// EarlyHeartbeats is a setting of [Switches].
type EarlyHeartbeats uint8

// What becomes of an early heartbeat.
const (
	EarlyTaken     EarlyHeartbeats = iota // it is taken like any other
	EarlyIgnored                          // what it reports is ignored, and the last answer comes again
	EarlyThrottled                        // it is refused with OTSTunnelServerUnavailable
)

var earlyTexts = []string{"taken", "ignored", "throttled"}

// String is the setting's name.
func (h EarlyHeartbeats) String() string {
	if int(h) < len(earlyTexts) {
		return earlyTexts[h]
	}
	return fmt.Sprintf("EarlyHeartbeats(%d)", uint8(h))
}

// MarshalText is the setting's name. It fails if there is none.
func (h EarlyHeartbeats) MarshalText() ([]byte, error) {
	if int(h) >= len(earlyTexts) {
		return nil, fmt.Errorf("emulator: %v is no setting of early-heartbeats", h)
	}
	return []byte(earlyTexts[h]), nil
}

// UnmarshalText reads a setting's name.
func (h *EarlyHeartbeats) UnmarshalText(text []byte) error {
	i := slices.Index(earlyTexts, string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of %s", text, strings.Join(earlyTexts, ", "))
	}
	*h = EarlyHeartbeats(i)
	return nil
}

// SwitchNames are the names of all switches, in the order of the fields.
func SwitchNames() []string {
	var names []string
	for f := range reflect.TypeFor[Switches]().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}

// ParseSwitches reads switches as flags give them: each text is a name, which
// turns that switch on, or NAME=SETTING, such as early-heartbeats=ignored or
// epoch-rises=false. A later text wins over an earlier one. The error lists
// what there is.
func ParseSwitches(texts ...string) (Switches, error) {
	var s Switches
	for _, text := range texts {
		if err := s.set(text); err != nil {
			return Switches{}, err
		}
	}
	return s, nil
}

func (s *Switches) set(text string) error {
	name, setting, given := strings.Cut(text, "=")
	i := slices.Index(SwitchNames(), name)
	if i < 0 {
		return fmt.Errorf("emulator: there is no switch %q; there are %s", name, strings.Join(SwitchNames(), ", "))
	}
	field := reflect.ValueOf(s).Elem().Field(i)
	if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(setting)); err != nil {
			return fmt.Errorf("emulator: switch %s: %w", name, err)
		}
		return nil
	}
	on := true
	if given {
		var err error
		if on, err = strconv.ParseBool(setting); err != nil {
			return fmt.Errorf("emulator: switch %s: %q is neither true nor false", name, setting)
		}
	}
	field.SetBool(on)
	return nil
}

func (s Switches) validate() error {
	if int(s.EarlyHeartbeats) >= len(earlyTexts) {
		return fmt.Errorf("emulator: early-heartbeats: %v is none of %s", s.EarlyHeartbeats, strings.Join(earlyTexts, ", "))
	}
	return nil
}

// switchboard holds the switches as they are set now.
type switchboard struct{ now atomic.Pointer[Switches] }

func (b *switchboard) get() Switches {
	if s := b.now.Load(); s != nil {
		return *s
	}
	return Switches{}
}

func (b *switchboard) set(s Switches) { b.now.Store(&s) }

// Switches are those that are set now.
func (e *Emulator) Switches() Switches { return e.clock.switches.get() }

// SetSwitches sets all switches, for every call that comes after. It fails, and
// sets none, if a setting does not exist.
func (e *Emulator) SetSwitches(s Switches) error {
	if err := s.validate(); err != nil {
		return err
	}
	e.clock.switches.set(s)
	return nil
}
