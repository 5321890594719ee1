package functions

import (
	"context"
	"encoding/json"
)

// lambdaHandler is a lambda.Handler: the one form that is given the payload as
// it is, rather than decoded as JSON.
type lambdaHandler struct{ function *function }

func (h lambdaHandler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	a, err := h.function.invoke(ctx, payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
