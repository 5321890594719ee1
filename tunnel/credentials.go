package tunnel

import "context"

// Credentials sign a request. SecurityToken is empty but for temporary ones.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string
}

// CredentialsProvider gives the credentials to sign the next request with. It
// is called for every request, from many goroutines, and must not block for
// long.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}
