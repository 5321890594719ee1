package emulator

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/culvertio/culvert/tunnel/emulator/tablepb"
	"github.com/culvertio/culvert/tunnel/internal/sign"
	"github.com/culvertio/culvert/tunnel/tunnelpb"
)

// maxBody bounds a request's body. The service takes at most 4 MB of rows in
// a call.
const maxBody = 8 << 20

// route is a call: which API it belongs to, and what answers it. An answer is
// pieces of a body, to be written one after another. What a fault does to a
// page concerns ReadRecords alone.
type route struct {
	api   sign.API
	serve func(body []byte, f pageFault) (answer [][]byte, err error)
}

func (e *Emulator) makeRoutes() map[string]route {
	return map[string]route{
		"/CreateTable":              {sign.Table, message(e.createTable)},
		"/DescribeTable":            {sign.Table, message(e.describeTable)},
		"/ListTable":                {sign.Table, message(e.listTable)},
		"/DeleteTable":              {sign.Table, message(e.deleteTable)},
		"/UpdateTable":              {sign.Table, message(e.updateTable)},
		"/AddDefinedColumn":         {sign.Table, message(e.addDefinedColumn)},
		"/DeleteDefinedColumn":      {sign.Table, message(e.deleteDefinedColumn)},
		"/ComputeSplitPointsBySize": {sign.Table, message(e.computeSplitPointsBySize)},
		"/PutRow":                   {sign.Table, message(e.putRow)},
		"/UpdateRow":                {sign.Table, message(e.updateRow)},
		"/DeleteRow":                {sign.Table, message(e.deleteRow)},
		"/BatchWriteRow":            {sign.Table, message(e.batchWriteRow)},
		"/GetRow":                   {sign.Table, message(e.getRow)},
		"/BatchGetRow":              {sign.Table, message(e.batchGetRow)},
		"/GetRange":                 {sign.Table, message(e.getRange)},
		"/ListStream":               {sign.Table, message(e.listStream)},
		"/DescribeStream":           {sign.Table, message(e.describeStream)},
		"/GetShardIterator":         {sign.Table, message(e.getShardIterator)},
		"/GetStreamRecord":          {sign.Table, e.getStreamRecord},

		"/tunnel/create":         {sign.Tunnel, message(e.createTunnel)},
		"/tunnel/delete":         {sign.Tunnel, message(e.deleteTunnel)},
		"/tunnel/list":           {sign.Tunnel, message(e.listTunnel)},
		"/tunnel/describe":       {sign.Tunnel, message(e.describeTunnel)},
		"/tunnel/getrpo":         {sign.Tunnel, message(e.getRpo)},
		"/tunnel/getrpobyoffset": {sign.Tunnel, message(e.getRpoByOffset)},
		"/tunnel/schedule":       {sign.Tunnel, message(e.schedule)},
		"/tunnel/connect":        {sign.Tunnel, message(e.connect)},
		"/tunnel/heartbeat":      {sign.Tunnel, message(e.heartbeat)},
		"/tunnel/shutdown":       {sign.Tunnel, message(e.shutdown)},
		"/tunnel/getcheckpoint":  {sign.Tunnel, message(e.getCheckpoint)},
		"/tunnel/checkpoint":     {sign.Tunnel, message(e.checkpoint)},
		"/tunnel/readrecords":    {sign.Tunnel, e.readRecords},
	}
}

// message makes a route's function of one that takes and gives a message.
func message[Q, A proto.Message](f func(Q) (A, error)) func([]byte, pageFault) ([][]byte, error) {
	return func(body []byte, _ pageFault) ([][]byte, error) {
		var q Q
		q = q.ProtoReflect().New().Interface().(Q)
		if err := parse(body, q); err != nil {
			return nil, err
		}
		a, err := f(q)
		if err != nil {
			return nil, err
		}
		b, err := proto.Marshal(a)
		if err != nil {
			return nil, failf(codeInternal, "The answer cannot be encoded: %v.", err)
		}
		return [][]byte{b}, nil
	}
}

func parse(body []byte, m proto.Message) error {
	if err := proto.Unmarshal(body, m); err != nil {
		return failf(codeParameterInvalid, "Failed to parse the ProtoBuf message: %v.", err)
	}
	return nil
}

// ServeHTTP answers one call. Whatever the request holds, it does not panic,
// but for a fault that cuts the connection: that is [http.ErrAbortHandler],
// which a server takes as the wish to do so.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := e.answer(w, r)
	if err == nil {
		e.head(w, r, http.StatusOK, answer, true)
		writePieces(w, answer)
		return
	}
	if g, ok := errors.AsType[gatewayError](err); ok {
		http.Error(w, g.Error(), int(g))
		return
	}
	fail, ok := errors.AsType[*Error](err)
	if !ok {
		fail = failf(codeInternal, "%v", err)
	}
	var m proto.Message = &tablepb.Error{Code: &fail.Code, Message: &fail.Message}
	if apiOf(r.URL.Path) == sign.Tunnel {
		m = &tunnelpb.Error{Code: &fail.Code, Message: &fail.Message}
	}
	b, err := proto.Marshal(m)
	if err != nil {
		// A message that quotes a request's bytes need not be UTF-8.
		b = []byte(fail.Code)
	}
	e.head(w, r, fail.httpStatus(), [][]byte{b}, fail.Code != codeAuthFailed)
	writePieces(w, [][]byte{b})
	e.config.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request refused",
		slog.String("path", r.URL.Path), slog.String("code", fail.Code), slog.String("message", fail.Message))
}

// apiOf is the API that a path belongs to.
func apiOf(path string) sign.API {
	if strings.HasPrefix(path, "/tunnel/") {
		return sign.Tunnel
	}
	return sign.Table
}

// unavailable is an API's code of what may be tried again later.
func unavailable(api sign.API) string {
	if api == sign.Tunnel {
		return codeTunnelUnavailable
	}
	return codeServerUnavailable
}

// answer judges the request's frame, then has the call answered, as far as the
// faults let it.
func (e *Emulator) answer(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	api := apiOf(r.URL.Path)
	if e.closed.Load() {
		return nil, failf(unavailable(api), "The emulator has been closed.")
	}
	if r.Method != http.MethodPost {
		return nil, failf(codeMethodNotAllowed, "Only POST method for requests is supported.")
	}
	route, ok := e.routes[r.URL.Path]
	if !ok {
		return nil, failf(codeUnsupported, "Unsupported operation: '%s'.", strings.ToValidUTF8(strings.TrimPrefix(r.URL.Path, "/"), "?"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, failf(codeBodyTooLarge, "The size of POST data is too large: the limit is %d bytes.", maxBody)
		}
		return nil, failf(codeParameterInvalid, "The request's body cannot be read: %v.", err)
	}
	if err := e.authorize(api, r, body); err != nil {
		return nil, err
	}
	return e.inject(w, r, body, func(f pageFault) ([][]byte, error) {
		answer, err := route.serve(body, f)
		return answer, e.kept(err, unavailable(api))
	})
}

// head writes an answer's status and headers. The answers of the table API
// carry what its clients verify: the body's MD5, the date, and a signature,
// if the answer is not that nobody knows who asks. The client for Python wants
// it of refusals too.
func (e *Emulator) head(w http.ResponseWriter, r *http.Request, status int, body [][]byte, signed bool) {
	h := w.Header()
	h.Set(sign.RequestID, newID())
	h.Set("Content-Type", "application/x-protobuf")
	h.Set("Content-Length", strconv.Itoa(length(body)))
	if apiOf(r.URL.Path) == sign.Table {
		sum := md5.New()
		for _, piece := range body {
			sum.Write(piece)
		}
		h.Set(sign.ContentMD5, base64.StdEncoding.EncodeToString(sum.Sum(nil)))
		h.Set(sign.Date, time.Now().UTC().Format(sign.DateLayout))
		h.Set("x-ots-contenttype", "protocol buffer")
		if e.config.AccessKeySecret != "" && signed {
			h.Set("Authorization", "OTS "+e.config.AccessKeyID+":"+signAnswer(e.config.AccessKeySecret, r.URL.Path, h))
		}
	}
	w.WriteHeader(status)
}

// writePieces writes a body. A client that is gone needs no answer.
func writePieces(w io.Writer, pieces [][]byte) {
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

func length(pieces [][]byte) int {
	n := 0
	for _, piece := range pieces {
		n += len(piece)
	}
	return n
}
