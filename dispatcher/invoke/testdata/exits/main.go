// Exits ends before it asks for an event.
package main

import "os"

func main() {
	println("no configuration")
	os.Exit(2)
}
