package functions_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/culvertio/culvert/functions"
)

// decode is the event that a handler would be given.
func decode(payload string) *functions.Event {
	e, err := functions.Decode([]byte(payload))
	if err != nil {
		log.Fatal(err)
	}
	return e
}

func ExampleRecord_Scan() {
	type Order struct {
		ID     string  `ots:"order_id,key"`
		Amount float64 `ots:"amount"`
		Items  int8    `ots:"items"`
		Note   *string `ots:"note"` // nil: the row has no note
	}
	e := decode(`{"Version":"Sync-v1","Records":[
		{"Id":"r1","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"o-1"}],"Columns":[
			{"Type":"Put","ColumnName":"amount","Value":12.5,"Timestamp":1},
			{"Type":"Put","ColumnName":"items","Value":3,"Timestamp":1},
			{"Type":"Put","ColumnName":"nobody's","Value":true,"Timestamp":1}]},
		{"Id":"r2","Type":"PutRow","PrimaryKey":[{"ColumnName":"order_id","Value":"o-2"}],"Columns":[
			{"Type":"Put","ColumnName":"items","Value":300,"Timestamp":1}]}]}`)
	for _, r := range e.Records {
		var o Order
		if err := r.Scan(&o); err != nil {
			r.Fail(err)
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s: %d for %.2f, note: %v\n", o.ID, o.Items, o.Amount, o.Note != nil)
	}
	// Output:
	// o-1: 3 for 12.50, note: false
	// functions: record r2: column "items" (integer) into Order.Items (int8): it is out of the type's range
}

// Where the tunnel carries the row as it was, the change is applied to it, and
// what comes out is the row as it is.
func ExampleRecord_ScanOld() {
	type Order struct {
		ID     string  `ots:"order_id,key"`
		Amount float64 `ots:"amount"`
		Status string  `ots:"status"`
	}
	e := decode(`{"Version":"Sync-v1","Records":[
		{"Type":"UpdateRow","PrimaryKey":[{"ColumnName":"order_id","Value":"o-1"}],
		 "Columns":[{"Type":"Put","ColumnName":"status","Value":"paid","Timestamp":2}],
		 "OldColumns":[{"Type":"Put","ColumnName":"amount","Value":12.5,"Timestamp":1},{"Type":"Put","ColumnName":"status","Value":"new","Timestamp":1}]}]}`)
	for _, r := range e.Records {
		var o Order
		had, err := r.ScanOld(&o)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(had, o)
		if err := r.Scan(&o); err != nil {
			log.Fatal(err)
		}
		fmt.Println(o)
	}
	// Output:
	// true {o-1 12.5 new}
	// {o-1 12.5 paid}
}

func ExampleChange() {
	type Order struct {
		Status functions.Change[string]  `ots:"status"`
		Note   functions.Change[string]  `ots:"note"`
		Amount functions.Change[float64] `ots:"amount"`
	}
	e := decode(`{"Version":"Sync-v1","Records":[{"Type":"UpdateRow","Columns":[
		{"Type":"Put","ColumnName":"status","Value":"","Timestamp":2},
		{"Type":"DeleteAllVersions","ColumnName":"note","Value":null,"Timestamp":0}]}]}`)
	var o Order
	if err := e.Records[0].Scan(&o); err != nil {
		log.Fatal(err)
	}
	fmt.Println("status: put", o.Status.Put, "deleted", o.Status.Deleted)
	fmt.Println("note:   put", o.Note.Put, "deleted", o.Note.Deleted)
	fmt.Println("amount: put", o.Amount.Put, "deleted", o.Amount.Deleted)
	// Output:
	// status: put true deleted false
	// note:   put false deleted true
	// amount: put false deleted false
}

// Decode takes either format; a handler that calls Start need not know of it.
func ExampleDecode() {
	for _, payload := range []string{
		`{"Version":"Sync-v1","Records":[{"Type":"PutRow","PrimaryKey":[{"ColumnName":"id","Value":7}]}]}`,
		"\xa2\x67Version\x67Sync-v1\x67Records\x81\xa2\x64Type\x66PutRow\x6aPrimaryKey\x81\xa2\x6aColumnName\x62id\x65Value\x07",
		"seven",
	} {
		e, err := functions.Decode([]byte(payload))
		if bad, ok := errors.AsType[*functions.DecodeError](err); ok {
			fmt.Println(bad.Err)
			continue
		}
		fmt.Println(e.Records[0].Type, e.Records[0].Key("id"))
	}
	// Output:
	// PutRow 7
	// PutRow 7
	// the payload begins with byte 0x73
}
