package redistest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// awaitTimeout bounds whatever waits under a context without a deadline.
	awaitTimeout = 60 * time.Second
	// The pause between two looks at a condition grows by a quarter each time,
	// within these bounds: quick for what is quick, light for what takes long.
	shortestPause = 5 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// bounded gives a context a deadline if it has none.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// final marks an error that no further waiting will cure.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// poll calls check until it returns nil, a final error, or until ctx ends: then
// poll returns the last thing that was not right yet.
func poll(ctx context.Context, check func() error) error {
	ctx, cancel := bounded(ctx, awaitTimeout)
	defer cancel()
	pause := shortestPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		err := check()
		if err == nil || errors.As(err, new(final)) {
			return err
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, and waiting ended: %w", err, context.Cause(ctx))
		case <-timer.C:
		}
		pause = min(pause*5/4, longestPause)
	}
}
