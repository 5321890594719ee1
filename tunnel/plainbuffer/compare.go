package plainbuffer

import (
	"bytes"
	"cmp"
)

// Equal says whether v and w have the same type and the same content. Doubles
// are compared bit by bit: a NaN equals itself, and 0 differs from -0.
func (v Value) Equal(w Value) bool {
	return v.typ == w.typ && v.bits == w.bits && bytes.Equal(v.data, w.data)
}

// Compare orders key values as Tablestore does: integers by number, strings
// and blobs by their bytes, InfMin below and InfMax above everything. Values
// of different types, which one key column never mixes, are ordered by type.
func Compare(a, b Value) int {
	if a.typ != b.typ {
		return cmp.Compare(rank(a.typ), rank(b.typ))
	}
	switch a.typ {
	case Integer:
		return cmp.Compare(a.Integer(), b.Integer())
	case Double:
		return cmp.Compare(a.Double(), b.Double())
	}
	return cmp.Or(cmp.Compare(a.bits, b.bits), bytes.Compare(a.data, b.data))
}

// rank orders types as Compare does.
func rank(t Type) int {
	switch t {
	case InfMin:
		return -1
	case InfMax:
		return 1 << 8
	}
	return int(t)
}
