package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/culvertio/culvert/tunnel"
)

// findTunnel returns the id of the configured tunnel, and makes it first if
// it is missing and may be made.
func (d *Dispatcher) findTunnel(ctx context.Context) (id string, err error) {
	want := d.config.Tunnel
	id, err = d.lookUp(ctx)
	if id != "" || err != nil {
		return id, err
	}
	if want.Create == "" {
		return "", fmt.Errorf("table %q of instance %q has no tunnel %q: check the name, or set tunnel.create to have it made", want.Table, want.Instance, want.Name)
	}
	kind, err := tunnel.ParseTunnelType(want.Create)
	if err != nil {
		return "", err
	}
	made, err := d.parts.Client.CreateTunnel(ctx, tunnel.CreateTunnelRequest{
		Table: want.Table, Tunnel: want.Name, Type: kind,
	})
	if err == nil {
		d.log.Info("made the tunnel", "tunnel_id", made.TunnelID, "type", want.Create)
		return made.TunnelID, nil
	}
	// Another dispatcher of the fleet may have been faster, or our own first
	// call may have arrived although its answer did not.
	if id, lookUpErr := d.lookUp(ctx); id != "" && lookUpErr == nil {
		return id, nil
	}
	return "", fmt.Errorf("make tunnel %q: %w", want.Name, err)
}

// lookUp returns the id of the configured tunnel, or nothing if the table has
// no such tunnel.
func (d *Dispatcher) lookUp(ctx context.Context) (id string, err error) {
	want := d.config.Tunnel
	list, err := d.parts.Client.ListTunnel(ctx, tunnel.ListTunnelRequest{Table: want.Table})
	if err != nil {
		return "", fmt.Errorf("look for tunnel %q: %w", want.Name, err)
	}
	for _, t := range list.Tunnels {
		if t.Name != want.Name {
			continue
		}
		if t.Expired {
			return "", errors.New("tunnel " + want.Name + " has expired: its changes are no longer kept; delete it and make it anew")
		}
		return t.ID, nil
	}
	return "", nil
}
