// Package tablepb holds the table API's messages that the emulator answers,
// generated from table.proto. protoc (Debian's protobuf-compiler) must be
// installed to regenerate them; nothing else needs it.
package tablepb

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative table.proto"
