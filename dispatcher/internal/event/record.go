package event

import (
	"strconv"

	"github.com/culvertio/culvert/tunnel"
	"github.com/culvertio/culvert/tunnel/plainbuffer"
)

// AppendRecord appends one record. origin is the row before the change, nil
// when the tunnel does not carry it: without it there is no OldColumns. id
// names the record; see batch.RecordID.
//
// Info.Timestamp is the sequence's, in microseconds, and 0 for base data. A
// column's Timestamp is its version in milliseconds, 0 when the cell has
// none. A cell that deletes has the Value null, whatever the cell carries.
func AppendRecord(dst []byte, action tunnel.Action, row, origin *plainbuffer.Row, id string) []byte {
	dst = append(dst, `{"Id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"Type":`...)
	dst = appendString(dst, action.String())
	dst = append(dst, `,"Info":{"Timestamp":`...)
	if row.HasSequence {
		dst = strconv.AppendInt(dst, row.Sequence.Timestamp, 10)
	} else {
		dst = append(dst, '0')
	}
	dst = append(dst, `},"PrimaryKey":[`...)
	for i := range row.Key {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"ColumnName":`...)
		dst = appendString(dst, row.Key[i].Name)
		dst = append(dst, `,"Value":`...)
		dst = appendValue(dst, row.Key[i].Value)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"Columns":`...)
	dst = appendColumns(dst, row.Columns)
	if origin != nil {
		dst = append(dst, `,"OldColumns":`...)
		dst = appendColumns(dst, origin.Columns)
	}
	return append(dst, '}')
}

func appendColumns(dst []byte, cells []plainbuffer.Cell) []byte {
	dst = append(dst, '[')
	for i := range cells {
		cell := &cells[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		value := cell.Value
		switch cell.Op {
		case plainbuffer.DeleteAllVersions:
			dst = append(dst, `{"Type":"DeleteAllVersions","ColumnName":`...)
			value = plainbuffer.NoValue()
		case plainbuffer.DeleteOneVersion:
			dst = append(dst, `{"Type":"DeleteOneVersion","ColumnName":`...)
			value = plainbuffer.NoValue()
		case plainbuffer.Increment:
			// Nobody has seen a tunnel deliver one. If it does, its value is
			// not the column's, so it must not look like a put.
			dst = append(dst, `{"Type":"Increment","ColumnName":`...)
		default:
			dst = append(dst, `{"Type":"Put","ColumnName":`...)
		}
		dst = appendString(dst, cell.Name)
		dst = append(dst, `,"Value":`...)
		dst = appendValue(dst, value)
		dst = append(dst, `,"Timestamp":`...)
		if cell.HasTimestamp {
			dst = strconv.AppendInt(dst, cell.Timestamp, 10)
		} else {
			dst = append(dst, '0')
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
