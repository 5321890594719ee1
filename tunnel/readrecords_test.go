package tunnel

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// pageBody is an encoded page of n records, each with size bytes.
func pageBody(n, size int) []byte {
	pb := &tunnelpb.ReadRecordsResponse{NextToken: new("next"), MayMoreRecord: new(true)}
	for i := range n {
		pb.Records = append(pb.Records, &tunnelpb.Record{
			ActionType: tunnelpb.ActionType(1 + i%3).Enum(),
			Record:     bytes.Repeat([]byte{byte(i)}, size),
		})
	}
	body, err := proto.Marshal(pb)
	if err != nil {
		panic(err)
	}
	return body
}

// asProto decodes a page as the generated code does. The error is ErrMalformed
// for what the generated code takes and parsePage does not.
func asProto(body []byte) (*Page, error) {
	var pb tunnelpb.ReadRecordsResponse
	if err := proto.Unmarshal(body, &pb); err != nil {
		return nil, err
	}
	page := &Page{NextToken: pb.GetNextToken(), More: pb.GetMayMoreRecord(), Size: len(body)}
	for _, r := range pb.GetRecords() {
		if a := r.GetActionType(); a < 1 || a > 3 {
			return nil, ErrMalformed
		}
		page.Records = append(page.Records, Record{Action: Action(r.GetActionType()), Row: r.GetRecord(), Origin: r.GetOriginRecord()})
	}
	return page, nil
}

// oddPages are encodings that the format allows and no server writes.
func oddPages() map[string][]byte {
	record := func(fields ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, fieldRecords, protowire.BytesType), slices.Concat(fields...))
	}
	number := func(field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
	}
	text := func(field protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), v)
	}
	row, put, token := text(fieldRow, "row"), number(fieldAction, 1), text(fieldNextToken, "t")
	group := protowire.AppendGroup(protowire.AppendTag(nil, 9, protowire.StartGroupType), 9, token)
	return map[string][]byte{
		"nothing":                    nil,
		"token alone":                token,
		"token first":                slices.Concat(token, record(put, row)),
		"two tokens":                 slices.Concat(token, text(fieldNextToken, "u")),
		"empty token":                text(fieldNextToken, ""),
		"token not UTF-8":            text(fieldNextToken, "\xff"),
		"token of another type":      number(fieldNextToken, 1),
		"no token":                   record(put, row),
		"more":                       slices.Concat(token, number(fieldMayMore, 2)),
		"more of another type":       slices.Concat(token, text(fieldMayMore, "x")),
		"row twice":                  slices.Concat(token, record(put, row, text(fieldRow, "other"))),
		"empty row":                  slices.Concat(token, record(put, text(fieldRow, ""))),
		"with origin":                slices.Concat(token, record(put, row, text(fieldOrigin, "before"))),
		"empty origin":               slices.Concat(token, record(put, row, text(fieldOrigin, ""))),
		"no action":                  slices.Concat(token, record(row)),
		"no row":                     slices.Concat(token, record(put)),
		"empty record":               slices.Concat(token, record()),
		"action not known":           slices.Concat(token, record(number(fieldAction, 4), row)),
		"action not known, then one": slices.Concat(token, record(number(fieldAction, 48), put, row)),
		"action, then one not known": slices.Concat(token, record(put, number(fieldAction, 48), row)),
		"action known in 32 bits":    slices.Concat(token, record(number(fieldAction, 1<<32+1), row)),
		"action known in 8 bits":     slices.Concat(token, record(number(fieldAction, 257), row)),
		"record of another type":     slices.Concat(token, number(fieldRecords, 1)),
		"unknown fields":             slices.Concat(number(15, 1), token, group, text(77, "x"), record(put, row, group)),
		"group without its end":      slices.Concat(token, protowire.AppendTag(nil, 9, protowire.StartGroupType)),
		"end of a group":             slices.Concat(token, protowire.AppendTag(nil, 9, protowire.EndGroupType)),
		"field number 0":             slices.Concat(token, []byte{0x02, 0x00}),
		"wire type 7":                slices.Concat(token, []byte{0x0f}),
		"length beyond the end":      slices.Concat(token, []byte{0x0a, 0x7f}),
		"length of eleven bytes":     append(token, append([]byte{0x0a}, bytes.Repeat([]byte{0xff}, 11)...)...),
		"row beyond the record":      slices.Concat(token, record(put, []byte{0x12, 0x05, 'a'})),
		"a record cut in its action": slices.Concat(token, record([]byte{0x08})),
	}
}

func checkPage(t *testing.T, body []byte) {
	t.Helper()
	want, wantErr := asProto(body)
	got, err := parsePage(slices.Clip(bytes.Clone(body)))
	if wantErr != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("parsePage: %v, want ErrMalformed, as proto.Unmarshal says: %v", err, wantErr)
		}
		return
	}
	if err != nil {
		t.Fatalf("parsePage: %v, but proto.Unmarshal takes it", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("parsePage differs from proto.Unmarshal (-proto +page):\n%s", diff)
	}
}

func TestAPageIsDecodedAsTheGeneratedCodeDoes(t *testing.T) {
	for name, body := range oddPages() {
		t.Run(name, func(t *testing.T) { checkPage(t, body) })
	}
	for _, n := range []int{0, 1, 3, 700} {
		checkPage(t, pageBody(n, 40))
	}
}

func TestAPageCutAnywhereIsNeverAShorterPage(t *testing.T) {
	body := pageBody(5, 9)
	// The last field is a hint; without it the page is whole.
	hint := len(body) - 2
	for n := range body {
		page, err := parsePage(body[:n])
		switch {
		case n == hint:
			if err != nil || len(page.Records) != 5 || page.NextToken != "next" || page.More {
				t.Errorf("without the hint: %+v, %v", page, err)
			}
		case !errors.Is(err, ErrMalformed):
			t.Errorf("cut at byte %d of %d: %v, want ErrMalformed", n, len(body), err)
		}
	}
}

func TestRecordsCannotGrowIntoEachOther(t *testing.T) {
	page, err := parsePage(pageBody(2, 8))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range page.Records {
		if cap(r.Row) != len(r.Row) {
			t.Errorf("record %d has room for %d bytes after its %d", i, cap(r.Row)-len(r.Row), len(r.Row))
		}
	}
}

func TestParsingAPageAllocatesNothingPerRecord(t *testing.T) {
	for _, n := range []int{1, 1000} {
		body := pageBody(n, 64)
		if got := testing.AllocsPerRun(20, func() {
			if _, err := parsePage(body); err != nil {
				t.Fatal(err)
			}
		}); got > 3 {
			t.Errorf("%v allocations for a page of %d records, want the page, its records and its token", got, n)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, body := range oddPages() {
		f.Add(body)
	}
	whole := pageBody(3, 5)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, body []byte) { checkPage(t, body) })
}

func BenchmarkParsePage(b *testing.B) {
	body := pageBody(1000, 900)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsePage(body); err != nil {
			b.Fatal(err)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAnAnswerOfAnySizeIsReadWhole(t *testing.T) {
	for _, size := range []int{0, 1, 511, 4 << 10, 100_000, 1 << 20, 5 << 20} {
		body := strings.Repeat("x", size)
		for _, length := range []int64{int64(size), -1} {
			got, err := readBody(strings.NewReader(body), length)
			if err != nil || string(got) != body {
				t.Errorf("%d bytes, announced as %d: got %d bytes, %v", size, length, len(got), err)
			}
			if spare := cap(got) - len(got); spare > len(got)/4+8<<10 {
				t.Errorf("%d bytes, announced as %d: the buffer holds %d bytes for nothing", size, length, spare)
			}
		}
	}
}

func TestAnAnswerOfAnnouncedLengthIsReadIntoOneBuffer(t *testing.T) {
	const size = 1 << 20
	body := bytes.Repeat([]byte{1}, size)
	r := bytes.NewReader(body)
	if got := testing.AllocsPerRun(5, func() {
		r.Reset(body)
		if _, err := readBody(r, size); err != nil {
			t.Fatal(err)
		}
	}); got > 1 {
		t.Errorf("%v allocations, want the buffer alone", got)
	}
}

func TestAnAnswerWithoutBoundsIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		body io.Reader
		size int64
		want error
	}{
		"announced too long":     {strings.NewReader(""), MaxResponseBytes + 1, errTooLarge},
		"endless":                {endless{}, -1, errTooLarge},
		"longer than announced":  {strings.NewReader("abc"), 2, io.ErrUnexpectedEOF},
		"shorter than announced": {strings.NewReader("abc"), 5, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := readBody(tt.body, tt.size)
			if !errors.Is(err, tt.want) {
				t.Errorf("%d bytes, %v; want %v", len(body), err, tt.want)
			}
		})
	}
}
