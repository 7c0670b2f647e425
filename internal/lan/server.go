//go:build linux

package lan

import (
	"bufio"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// Port is where servers listen, on all addresses of their host.
const Port = 6379

// Server answers every line with its name.
type Server struct {
	name     string
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// Serve makes a server of a listener. It ends with Close.
func Serve(l net.Listener, name string) *Server {
	s := &Server{name: name, listener: l, conns: make(map[net.Conn]bool)}
	go s.accept()
	return s
}

// Serve runs a server on the host until the test's end.
func (h *Host) Serve(tb testing.TB) *Server {
	tb.Helper()
	l, err := h.Listen("tcp", ":6379")
	must(tb, err)
	s := Serve(l, h.Name)
	tb.Cleanup(s.Close)
	return s
}

// accept ends when the listener is closed.
func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			conn.Close()
		} else {
			s.conns[conn] = true
			go s.answer(conn)
		}
		s.mu.Unlock()
	}
}

// answer serves one client until it or the server closes the connection.
func (s *Server) answer(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := conn.Write([]byte(s.name + "\n")); err != nil {
			break
		}
	}
	conn.Close()
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
}

// End ends the clients that came to these addresses, by a reset.
func (s *Server) End(addrs []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		to := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if slices.Contains(addrs, to) {
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}
}

// Close ends the server and its clients.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
}
