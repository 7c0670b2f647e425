//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of the measuring loop are raw: the scheduler is not told of them,
// so it neither takes the loop's P away nor is asked to give one back. The
// process has nothing else to run meanwhile, and wait is bounded.

// read and write are recvfrom and sendto, which spare the way through the
// kernel's file layer.

func read(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}

func write(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// wait is epoll_pwait2, the one whose timeout is in nanoseconds: an open loop
// of 10 000 commands a second sleeps for less than a millisecond.
func wait(epoll int, events []unix.EpollEvent, timeout time.Duration) (int, unix.Errno) {
	ts := unix.NsecToTimespec(int64(max(timeout, 0)))
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	return int(n), errno
}

// dial connects to a port of this machine. The socket blocks, each call on it
// for at most the timeout.
func dial(port int, timeout time.Duration) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	tv := unix.NsecToTimeval(int64(timeout))
	for _, set := range []func() error{
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv) },
		func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) },
		func() error { return connect(fd, port) },
	} {
		if err := set(); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("port %d: %w", port, err)
		}
	}
	return fd, nil
}

// connect goes on waiting when a signal interrupts it: Linux takes a second
// connect on a blocking socket as the wish to wait for the first.
func connect(fd, port int) error {
	for {
		err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		switch err {
		case unix.EINTR:
			continue
		case unix.EINPROGRESS, unix.EALREADY:
			return fmt.Errorf("no connection in time: %w", err)
		}
		return err
	}
}

// socket is the descriptor of a blocking socket.
type socket int

func (s socket) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := unix.Write(int(s), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("write: %w", err)
		}
		done += n
	}
	return len(p), nil
}

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, fmt.Errorf("read: %w", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// receive reads exactly the wanted reply, and names the first bytes that differ.
func receive(from io.Reader, want []byte) error {
	buf := make([]byte, min(len(want), 64<<10))
	for got := 0; got < len(want); {
		n, err := from.Read(buf[:min(len(buf), len(want)-got)])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no answer in time after %d of %d bytes", got, len(want))
		case err == io.EOF:
			return fmt.Errorf("closed after %d of %d bytes", got, len(want))
		case err != nil:
			return err
		case !bytes.Equal(buf[:n], want[got:got+n]):
			return fmt.Errorf("answered %s at byte %d, expected %s", excerpt(buf[:n]), got, excerpt(want[got:]))
		}
		got += n
	}
	return nil
}

// door is where somebody listens.
type door struct {
	port int
	tls  *tls.Config // how it is spoken there; nil: it is not
}

// ask does one request on a connection of its own.
func ask(at door, timeout time.Duration, request, want []byte) error {
	fd, err := dial(at.port, timeout)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var peer io.ReadWriter = socket(fd)
	if at.tls != nil {
		t, err := handshake(socket(fd), at.tls)
		if err != nil {
			return err
		}
		peer = t.conn
	}
	if _, err := peer.Write(request); err != nil {
		return err
	}
	return receive(peer, want)
}

// excerpt shows the beginning of what a peer sent.
func excerpt(p []byte) string { return fmt.Sprintf("%.60q", p) }
