package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"testing"

	"holdfast/config"
	"holdfast/internal/pki"
	"holdfast/internal/redistest"
)

// secured says whether TLS is spoken everywhere, but where a test chooses: by
// clients, nodes and Sentinels. The suite runs all tests once more with
// HOLDFAST_TEST_TLS=1.
var secured = os.Getenv("HOLDFAST_TEST_TLS") != ""

// certificates are those of all tests: "ca" has signed "server" and "client".
var certificates = sync.OnceValue(func() *pki.Authority {
	dir, err := os.MkdirTemp("", "holdfast-pki-")
	if err != nil {
		panic(err)
	}
	a, err := pki.New(dir, "ca")
	for _, name := range []string{"server", "client"} {
		if err == nil {
			err = a.Issue(name)
		}
	}
	if err != nil {
		panic(err)
	}
	return a
})

func TestMain(m *testing.M) {
	if a := certificates(); secured {
		redistest.TLS = a
	}
	code := m.Run()
	os.RemoveAll(certificates().File(""))
	os.Exit(code)
}

func serverTLS() config.ServerTLS {
	return config.ServerTLS{CertFile: certificates().File("server.pem"), KeyFile: certificates().File("server.key")}
}

func clientTLS() *tls.Config {
	return &tls.Config{RootCAs: certificates().Pool(), ServerName: "127.0.0.1"}
}

// overTLS has the listener speak it, whatever the suite runs with.
func overTLS(cfg *config.Config) { cfg.Listeners[0].TLS = serverTLS() }

// towards is how the proxy speaks to nodes and Sentinels of a suite that is secured.
func towards(t testing.TB) config.ClientTLS { return trusting(t, certificates()) }

// trusting is how to speak to servers of an authority.
func trusting(t testing.TB, a *pki.Authority) config.ClientTLS {
	t.Helper()
	to, err := a.Trusting()
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// fronts are the addresses of proxies that speak TLS.
var fronts sync.Map

// conn is a connection to anything; both of its ends can be closed apart.
type conn struct {
	net.Conn
	tcp *net.TCPConn
}

// connect speaks TLS where that is spoken.
func connect(t testing.TB, addr string) *conn {
	t.Helper()
	c := rawTo(t, addr).nc
	if _, ok := fronts.Load(addr); ok || secured {
		s := tls.Client(c.tcp, clientTLS())
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.HandshakeContext(ctx); err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		c.Conn = s
	}
	return c
}

// CloseWrite says that nothing more will be sent.
func (c *conn) CloseWrite() error {
	if s, ok := c.Conn.(*tls.Conn); ok {
		s.CloseWrite()
	}
	return c.tcp.CloseWrite()
}

// SetLinger is that of the socket.
func (c *conn) SetLinger(seconds int) { c.tcp.SetLinger(seconds) }

// Close closes the socket, as a program does that ends: without a word.
func (c *conn) Close() error { return c.tcp.Close() }
