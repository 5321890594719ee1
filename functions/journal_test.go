package functions

import (
	"errors"
	"os"
	"testing"
)

func TestAfterAFailedWriteTheJournalGoesOnInANewFile(t *testing.T) {
	dir := t.TempDir()
	j, e := OpenJournal(dir), &Event{}
	if err := j.End(e, nil); err != nil {
		t.Fatal(err)
	}
	if err := j.file.Close(); err != nil { // so that writing to it fails
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*JournalError](j.End(e, nil)); !ok {
		t.Error("a failed write is no error")
	}
	if err := errors.Join(j.End(e, nil), j.Close()); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(dir); len(files) != 2 || err != nil {
		t.Error(files, err)
	}
}
