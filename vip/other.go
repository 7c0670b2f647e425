//go:build !linux

package vip

import (
	"context"
	"errors"
	"net/netip"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// Routers are all instances of this node; none, on this system.
type Routers struct{}

// New fails if anything is configured.
func New(instances []config.VIP, _ func([]netip.Addr), _ zerolog.Logger) (*Routers, error) {
	if len(instances) > 0 {
		return nil, errors.New("virtual addresses need Linux")
	}
	return &Routers{}, nil
}

// Launched does nothing.
func Launched() {}

// Check is the error of New.
func Check(instances []config.VIP) error {
	_, err := New(instances, nil, zerolog.Nop())
	return err
}

// Run waits for the end of ctx.
func (*Routers) Run(ctx context.Context) { <-ctx.Done() }

// SetFitness does nothing.
func (*Routers) SetFitness(Fitness) {}

// Stats are none.
func (*Routers) Stats() []Stats { return []Stats{} }
