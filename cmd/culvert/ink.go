package main

import (
	"os"

	"github.com/charmbracelet/x/ansi"
)

// ink writes parts of the live view in color, or without any.
type ink struct{ colored bool }

// newInk keeps to NO_COLOR (no-color.org).
func newInk() ink { return ink{colored: os.Getenv("NO_COLOR") == ""} }

func (i ink) faint(text string) string  { return i.in(ansi.FaintAttr, text) }
func (i ink) strong(text string) string { return i.in(ansi.BoldAttr, text) }
func (i ink) good(text string) string   { return i.in(ansi.GreenForegroundColorAttr, text) }
func (i ink) bad(text string) string    { return i.in(ansi.RedForegroundColorAttr, text) }

func (i ink) in(attribute ansi.Attr, text string) string {
	if !i.colored || text == "" {
		return text
	}
	return ansi.SGR(attribute) + text + ansi.ResetStyle
}
