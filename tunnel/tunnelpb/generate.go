// Package tunnelpb holds the Tunnel Service's messages, generated from
// tunnel.proto. protoc (Debian's protobuf-compiler) must be installed to
// regenerate them; nothing else needs it.
package tunnelpb

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative tunnel.proto"
