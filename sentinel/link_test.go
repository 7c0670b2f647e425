package sentinel

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// knocked is a net.Conn that knows whether it was closed.
type knocked struct {
	net.Conn
	closed atomic.Bool
}

func (k *knocked) Close() error { k.closed.Store(true); return nil }

// TestReach: packets to the node are lost until it comes into reach. A connection
// that was begun before that is of no use, and one begun after it is there at once.
func TestReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, inReach := time.Now(), 3050*time.Millisecond
		var now, most atomic.Int32
		o := outside{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if time.Since(began) >= inReach {
				return new(knocked), nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		conn, err := o.reach(t.Context(), "a")
		if err != nil || conn == nil {
			t.Fatal(err)
		}
		if late := time.Since(began) - inReach; late > dialAgain {
			t.Errorf("%v late", late)
		}
		if n := most.Load(); n > int32(dialEach/dialAgain)+1 {
			t.Errorf("%d attempts at a time", n)
		}
	})
}

// TestReachEnds: with the first answer, whatever it is, and with the context.
func TestReachEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusing := outside{dial: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }}
		if _, err := refusing.reach(t.Context(), "a"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v from a node that refuses", err)
		}
		silence := outside{dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}
		ctx, cancel := context.WithTimeout(t.Context(), 5*dialEach/2)
		defer cancel()
		if _, err := silence.reach(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v from a node that is silent", err)
		}
	})
}

// TestReachOnce: of three connections that are there at once, one is used and the
// others are closed.
func TestReachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := make(chan *knocked, 3)
		release := make(chan struct{})
		o := outside{dial: func(context.Context, string, string) (net.Conn, error) {
			k := new(knocked)
			if made <- k; len(made) == cap(made) {
				close(release)
			}
			<-release
			return k, nil
		}}
		conn, err := o.reach(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range cap(made) {
			if k := <-made; k.closed.Load() != (k != conn) {
				t.Error("one that is used is closed, or one that is not used is open")
			}
		}
	})
}
