package emulator

import (
	"slices"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
)

// Defined columns: names and types that a table's schema tells beside its key.
// They are for indexes, which the emulator has not: nothing else looks at them.

// definedColumn is one of them.
type definedColumn struct {
	name string
	typ  tablepb.DefinedColumnType
}

// maxDefinedColumns is the service's limit.
const maxDefinedColumns = 32

// define gives a table's defined columns with more of them.
func (t *table) define(defined []definedColumn, more []*tablepb.DefinedColumnSchema) ([]definedColumn, error) {
	defined = slices.Clone(defined)
	for _, m := range more {
		name := m.GetName()
		switch {
		case len(name) == 0 || len(name) > maxNameLength:
			return nil, invalidColumnName(name)
		case slices.ContainsFunc(t.key, func(k KeyColumn) bool { return k.Name == name }):
			return nil, failf(codeParameterInvalid, "Duplicated defined column name with primary key column: '%s'.", name)
		case slices.ContainsFunc(defined, func(d definedColumn) bool { return d.name == name }):
			return nil, failf(codeParameterInvalid, "Duplicated defined column name: '%s'.", name)
		}
		defined = append(defined, definedColumn{name, m.GetType()})
	}
	if len(defined) > maxDefinedColumns {
		return nil, failf(codeParameterInvalid, "The number of defined columns must be in range: [0, %d].", maxDefinedColumns)
	}
	return defined, nil
}

func (e *Emulator) addDefinedColumn(q *tablepb.AddDefinedColumnRequest) (*tablepb.AddDefinedColumnResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	if len(q.GetColumns()) == 0 {
		return nil, failf(codeParameterInvalid, "No defined column is specified.")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defined, err := t.define(t.defined, q.GetColumns())
	if err != nil {
		return nil, err
	}
	t.defined = defined
	return &tablepb.AddDefinedColumnResponse{}, nil
}

func (e *Emulator) deleteDefinedColumn(q *tablepb.DeleteDefinedColumnRequest) (*tablepb.DeleteDefinedColumnResponse, error) {
	t, err := e.table(q.GetTableName())
	if err != nil {
		return nil, err
	}
	if len(q.GetColumns()) == 0 {
		return nil, failf(codeParameterInvalid, "No defined column is specified.")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defined := slices.Clone(t.defined)
	for _, name := range q.GetColumns() {
		at := slices.IndexFunc(defined, func(d definedColumn) bool { return d.name == name })
		if at < 0 {
			return nil, failf(codeParameterInvalid, "The table has no defined column '%s'.", name)
		}
		defined = slices.Delete(defined, at, at+1)
	}
	t.defined = defined
	return &tablepb.DeleteDefinedColumnResponse{}, nil
}
