package state

import "github.com/redis/go-redis/v9"

// AddHook lets tests see and disturb what goes to the server.
func (r *Redis) AddHook(h redis.Hook) { r.client.AddHook(h) }
