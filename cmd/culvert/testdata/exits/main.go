// Command exits is a handler that gives up at its start.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("no database at db.example:5432")
	os.Exit(7)
}
