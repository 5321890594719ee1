// Command orders is a handler for the changes of a table of orders: it prints
// a line for each, and how many there were of each kind.
package main

import (
	"context"
	"fmt"

	"github.com/culvertio/culvert/functions"
)

func main() { functions.Start(handle) }

func handle(_ context.Context, e *functions.Event) error {
	kinds := map[string]int{}
	for _, r := range e.Records {
		kind := kindOf(r)
		amount, hasAmount := r.Column("amount")
		if kind := amount.Kind(); hasAmount && kind != functions.Double && kind != functions.Integer {
			r.Fail(fmt.Errorf("its amount %q is a %v, not a number", amount, kind))
			continue // this one comes again, the others are done
		}
		fmt.Printf("order %v %s", r.Key("order_id"), kind)
		for _, c := range r.Columns {
			fmt.Printf(" %s=%v", c.ColumnName, c.Value) // "none" if the column was deleted
		}
		fmt.Println()
		kinds[kind]++
	}
	fmt.Printf("batch %.8s, attempt %d: %v\n", e.Batch.ID, e.Batch.Attempt, kinds)
	return nil
}

func kindOf(r *functions.Record) string {
	switch paid, _ := r.Column("paid"); {
	case r.Type == "DeleteRow":
		return "cancelled"
	case paid == functions.BooleanValue(true):
		return "paid"
	case r.Type == "PutRow":
		return "placed"
	}
	return "changed"
}
