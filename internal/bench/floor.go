//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"holdfast/resp"
)

// floor is the least that a loop of holdfast's kind can cost: it does for a
// client what such a loop does, with the same system calls, scanner and way to
// wait, but answers every GET with one constant and has no Redis behind it.
// What holdfast uses beyond it is the price of being a proxy. It is a process
// of its own, so that its CPU clock is; one goroutine owns all of it.
type floor struct {
	epoll    int
	raw      syscall.RawConn // of the epoll descriptor, which Go's netpoller watches
	try      func(uintptr) bool
	events   []unix.EpollEvent
	ready    int
	listener int
	clients  []floorClient // by descriptor
	buf, out []byte
	value    []byte // answers a GET
}

// floorClient is what a client's socket does not hold for us.
type floorClient struct {
	rest   []byte // a request that has not come whole
	unsent []byte // of replies
}

// serveFloor runs a floor on a port of the loopback until it fails; it is ended
// by a signal. The loop's goroutine must not be the main one, which is locked to
// its thread: parking would then be a change of threads each time.
func serveFloor(port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("-floor: %w", err)
	}
	f, err := newFloor(int(n))
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	ended := make(chan error)
	go f.run(ended)
	return <-ended
}

func newFloor(port int) (*floor, error) {
	f := &floor{events: make([]unix.EpollEvent, 256), buf: make([]byte, 256<<10)}
	_, f.value = getting(smallValue, 0)
	var err error
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	// os.NewFile gives only a non-blocking descriptor to the netpoller.
	if err := unix.SetNonblock(f.epoll, true); err != nil {
		return nil, err
	}
	if f.raw, err = os.NewFile(uintptr(f.epoll), "epoll").SyscallConn(); err != nil {
		return nil, err
	}
	f.try = func(uintptr) bool {
		f.poll()
		return f.ready > 0
	}
	if f.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(f.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := unix.Bind(f.listener, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(f.listener, 4096); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return f, f.watch(f.listener)
}

// watch is edge-triggered and lasts: there is no epoll_ctl while clients ask.
func (f *floor) watch(fd int) error {
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	return unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (f *floor) poll() {
	n, errno := wait(f.epoll, f.events, 0)
	if errno != 0 {
		n = 0
	}
	f.ready = n
}

// run looks first, and parks in the netpoller when nothing is ready.
func (f *floor) run(ended chan<- error) {
	for {
		if f.poll(); f.ready == 0 {
			if err := f.raw.Read(f.try); err != nil {
				ended <- err
				return
			}
		}
		for _, e := range f.events[:f.ready] {
			if int(e.Fd) == f.listener {
				f.accept()
			} else {
				f.serve(int(e.Fd))
			}
		}
	}
}

func (f *floor) accept() {
	for {
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		if fd >= len(f.clients) {
			f.clients = append(f.clients, make([]floorClient, fd+1)...)
		}
		f.clients[fd] = floorClient{}
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil || f.watch(fd) != nil {
			unix.Close(fd)
		}
	}
}

// serve reads until the socket is empty, which a short read tells, or until the
// client does not take its replies; the event of its room then goes on here.
func (f *floor) serve(fd int) {
	c := &f.clients[fd]
	if len(c.unsent) > 0 && !c.send(fd, c.unsent) {
		return
	}
	for {
		kept := copy(f.buf, c.rest)
		n, errno := read(fd, f.buf[kept:])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n == 0:
			unix.Close(fd)
			return
		}
		rest, ok := f.answer(f.buf[:kept+n])
		if !ok {
			unix.Close(fd)
			return
		}
		c.rest = append(c.rest[:0], rest...)
		if len(f.out) > 0 && !c.send(fd, f.out) || kept+n < len(f.buf) {
			return
		}
	}
}

// send says whether the client has taken all of p; it keeps what is left, and
// closes the socket of one that is gone.
func (c *floorClient) send(fd int, p []byte) bool {
	n, errno := write(fd, p)
	switch errno {
	case 0:
		p = p[n:]
	case unix.EAGAIN:
	default:
		unix.Close(fd)
		return false
	}
	c.unsent = append(c.unsent[:0], p...)
	return len(p) == 0
}

// answer puts the replies to all whole requests of p into f.out and returns
// what is left; ok is false when that cannot be a request for us.
func (f *floor) answer(p []byte) (rest []byte, ok bool) {
	f.out = f.out[:0]
	for len(p) > 0 {
		var r resp.Request
		n, done, err := r.Scan(p)
		if err != nil || !done && len(p) == len(f.buf) {
			return nil, false
		}
		if !done {
			break
		}
		f.out = append(f.out, f.reply(resp.Name(p[:n]))...)
		p = p[n:]
	}
	return p, true
}

var (
	floorPong = []byte("+PONG\r\n")
	floorOK   = []byte("+OK\r\n")
)

func (f *floor) reply(name []byte) []byte {
	switch {
	case bytes.EqualFold(name, []byte("SET")):
		return floorOK
	case bytes.EqualFold(name, []byte("PING")):
		return floorPong
	}
	return f.value
}
