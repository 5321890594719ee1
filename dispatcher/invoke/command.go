package invoke

import (
	"errors"
	"strings"
)

// SplitCommand is a command line's program and arguments, as [Open] takes
// command:COMMAND apart. Spaces and tabs part them; between single or double
// quotes these stay, and the quotes go. Nothing else means anything: no
// escapes, variables, patterns or pipes. The error does not quote the line.
func SplitCommand(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune // the one that is open; 0: none
	)
	for _, c := range line {
		switch {
		case c == '\n' || c == '\r' || c == 0:
			return nil, errors.New("a command is one line")
		case c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true // "" is a word too
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote in the command is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("the command names no program: write PROGRAM ARGUMENT …")
	}
	return words, nil
}
