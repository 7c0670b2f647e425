package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"holdfast/config"
)

// outside is the world that a Group talks to, so that tests can put it elsewhere.
type outside struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  config.ClientTLS
	key  string // of tls in the configuration
}

// A kernel repeats a SYN that was lost only after a second (RFC 6298, section 2),
// so who knocks once at a node that comes into reach just then finds it a second
// late, with everybody's commands waiting. So there is another attempt beside the
// first, and so on, each for as long as the kernel sends nothing itself: at most
// twenty at a time.
const (
	dialAgain = 50 * time.Millisecond
	dialEach  = time.Second
)

// dialled is what an attempt has come to.
type dialled struct {
	conn net.Conn
	err  error
}

// reach dials until an attempt comes to something, or ctx ends. All attempts have
// ended when it returns: a dial that is called off does so at once.
func (o outside) reach(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()
	first := make(chan dialled)
	tick := time.NewTicker(dialAgain)
	defer tick.Stop()
	for {
		attempts.Go(func() { o.attempt(ctx, addr, first) })
		select {
		case d := <-first:
			return d.conn, d.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// attempt is the goroutine of one attempt. It ends with its time, or with ctx, and
// keeps what came too late to itself.
func (o outside) attempt(ctx context.Context, addr string, first chan<- dialled) {
	bounded, cancel := context.WithTimeout(ctx, dialEach)
	defer cancel()
	conn, err := o.dial(bounded, "tcp", addr)
	if err != nil && bounded.Err() != nil {
		return // others are under way
	}
	select {
	case first <- dialled{conn, err}:
	case <-ctx.Done():
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// secure speaks TLS over conn, if that is wanted here; it closes conn if it cannot.
func (o outside) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	conf := o.tls.For(addr)
	if conf == nil {
		return &newcomer{Conn: conn, outside: o}, nil
	}
	secured := tls.Client(conn, conf)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, Unheard(o.tls, o.key, err)
	}
	return &newcomer{Conn: secured, outside: o}, nil
}

// newcomer is a connection that puts it into other words when it ends before the
// first word of the other side.
type newcomer struct {
	net.Conn
	outside outside
	heard   atomic.Bool // a subscription is read and written by two
}

func (c *newcomer) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, c.told(err)
}

func (c *newcomer) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.told(err)
}

func (c *newcomer) told(err error) error {
	if err == nil || c.heard.Load() || silent(err) {
		return err
	}
	return Unheard(c.outside.tls, c.outside.key, err)
}

// errSpent is go-redis' answer when its one connection has ended.
var errSpent = errors.New("connection lost")

// link is one connection to a Redis or a Sentinel: a go-redis client that will
// never open another. Whether, when and where to connect again is not for a pool
// to decide, and its error would hide the first one.
type link struct {
	*redis.Client
	greeting  *greeting
	onConnect func(context.Context, *redis.Conn) error // may be set before the first command
	conn      net.Conn
	stop      func() bool
}

// connect opens a link. It is closed when ctx ends, whoever is waiting on it; the
// caller must Close it all the same. Errors say what was tried, without secrets.
func connect(ctx context.Context, o outside, addr string, login config.Login, timeout time.Duration) (*link, error) {
	dctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := o.reach(dctx, addr)
	switch {
	case err == nil:
		conn, err = o.secure(dctx, conn, addr)
	case errors.Is(err, syscall.ECONNRESET): // it was accepted, and closed before we looked
		err = Unheard(o.tls, o.key, err)
	}
	if err != nil {
		return nil, Bare(err)
	}
	l := &link{conn: conn, greeting: new(greeting)}
	var used atomic.Bool
	l.Client = redis.NewClient(&redis.Options{
		Addr: addr,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errSpent
			}
			return conn, nil
		},
		OnConnect: func(ctx context.Context, conn *redis.Conn) error {
			if l.onConnect == nil {
				return nil
			}
			return l.onConnect(ctx, conn)
		},
		Protocol: 2, // the messages of a subscription have the same form in all versions
		Username: login.Username, Password: string(login.Password),
		ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
		MaxRetries: -1, DialerRetries: 1, DialerRetryTimeout: time.Nanosecond,
		PoolSize: 1, ConnMaxIdleTime: -1,
		ReadBufferSize: 16 << 10, WriteBufferSize: 4 << 10,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.AddHook(l.greeting)
	l.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return l, nil
}

// Close closes the connection.
func (l *link) Close() {
	l.stop()
	_ = l.Client.Close()
	_ = l.conn.Close() // go-redis may not have taken it yet
}

// greeting is how HELLO went. go-redis sends it by itself and passes over its
// refusal; but the reply names the node's role, and the refusal is what is wrong.
// It is a redis.Hook, used by the goroutine that uses the link.
type greeting struct {
	role string // master or replica; "" from a Sentinel, or without an answer
	err  error  // the error that the server answered
}

// DialHook passes on.
func (g *greeting) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook passes on.
func (g *greeting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook looks at HELLO.
func (g *greeting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if hello, ok := cmd.(*redis.MapStringInterfaceCmd); ok && cmd.Name() == "hello" {
			g.role, _ = hello.Val()["role"].(string)
			if answered(err) {
				g.err = err
			}
		}
		return err
	}
}
