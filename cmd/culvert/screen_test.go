package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// paper is a terminal as far as a frame uses one: it keeps all lines, those
// that have scrolled away too.
type paper struct {
	lines       [][]rune
	row, column int
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9;]*)([A-Za-z])`)

func (p *paper) write(t interface{ Fatalf(string, ...any) }, text string) {
	for text != "" {
		if m := sequence.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			p.control(t, m[1], m[2])
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\n': // the terminal makes it "\r\n"
			p.row, p.column = p.row+1, 0
		case '\r':
			p.column = 0
		default:
			p.at(p.row, p.column+1)
			p.lines[p.row][p.column] = r
			p.column++
		}
	}
}

func (p *paper) at(row, columns int) {
	for len(p.lines) <= row {
		p.lines = append(p.lines, nil)
	}
	for len(p.lines[row]) < columns {
		p.lines[row] = append(p.lines[row], ' ')
	}
}

func (p *paper) control(t interface{ Fatalf(string, ...any) }, argument, command string) {
	p.at(p.row, 0)
	switch {
	case command == "A":
		n, err := strconv.Atoi("0" + argument)
		if p.row -= max(n, 1); err != nil || p.row < 0 {
			t.Fatalf("the cursor goes up %q lines, above the first", argument)
		}
	case command == "K" && (argument == "" || argument == "0"):
		p.lines[p.row] = p.lines[p.row][:min(p.column, len(p.lines[p.row]))]
	case command == "K" && argument == "2":
		p.lines[p.row] = nil
	case command == "J" && (argument == "" || argument == "0"):
		p.lines[p.row] = p.lines[p.row][:min(p.column, len(p.lines[p.row]))]
		p.lines = p.lines[:p.row+1]
	case command == "m":
	default:
		t.Fatalf("a sequence that is not known here: %q %q", argument, command)
	}
}

func (p *paper) text() []string {
	var lines []string
	for _, line := range p.lines {
		lines = append(lines, strings.TrimRight(string(line), " "))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Whatever is printed and shown, in the end all that was printed stands on the
// terminal in its order, and below it the last view and nothing else.
func TestAFrameKeepsWhatIsPrintedAboveIt(t *testing.T) {
	t.Parallel()
	const width = 40
	word := rapid.StringMatching(`[a-z]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		var f frame
		var p paper
		var want, lines []string
		for range rapid.IntRange(1, 10).Draw(t, "draws") {
			text := ""
			for _, line := range rapid.SliceOfN(word, 0, 4).Draw(t, "printed") {
				text += line + "\n"
				want = append(want, line)
			}
			lines = rapid.SliceOfN(word, 1, 6).Draw(t, "view")
			p.write(t, f.next(text, lines, width))
		}
		if diff := cmp.Diff(append(want, lines...), p.text()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if again := f.next("", lines, width); again != "" {
			t.Errorf("the same view is written again: %q", again)
		}
	})
}

func TestAFrameThatATerminalHasWrappedIsErasedWhole(t *testing.T) {
	t.Parallel()
	var f frame
	f.next("", []string{strings.Repeat("x", 60), "y"}, 80)
	if got := f.next("", []string{"z"}, 40); !strings.HasPrefix(got, "\x1b[3A\r") {
		t.Errorf("%q: the first line stands in two now", got)
	}
}
