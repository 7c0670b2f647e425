package proxy

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// What a descriptor is watched for. Edge-triggered, registered once: the loop
// reads until a short read and remembers what it left in a socket itself, so
// there is no epoll_ctl on the path.
const watched = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | -syscall.EPOLLET

const (
	evRead  = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	evWrite = syscall.EPOLLOUT | syscall.EPOLLHUP | syscall.EPOLLERR
	evGone  = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	evDead  = syscall.EPOLLHUP | syscall.EPOLLERR
)

type event = syscall.EpollEvent

// poller is one epoll instance, used by one loop only.
//
// A loop with nothing to do parks in Go's netpoller (the epoll descriptor can
// itself be polled) instead of blocking in epoll_wait: a thread that blocks in
// a system call loses its P to the scheduler's monitor each time, which
// measured 25 to 40 % of the CPU at low load.
type poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []event
	n      int
	try    func(uintptr) bool
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// os.NewFile registers only descriptors that are already non-blocking.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]event, 256)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	p.try = func(uintptr) bool {
		p.poll()
		return p.n > 0
	}
	return p, nil
}

func (p *poller) poll() {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		n = 0
	}
	p.n = int(n)
}

// wait returns what is ready now; with park it waits until something is. The
// events are valid until the next call.
func (p *poller) wait(park bool) []event {
	p.poll()
	if p.n == 0 && park {
		p.raw.Read(p.try)
	}
	return p.events[:p.n]
}

// add watches fd. The generation comes back with each event, so that an event
// for a descriptor that was closed and given out again in the same round is
// told from one for its successor.
func (p *poller) add(fd int, gen uint32) error {
	ev := event{Events: watched & 0xffffffff, Fd: int32(fd), Pad: int32(gen)}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &ev)
}

// addBell watches the eventfd of a bell, which is always writable and says so at
// each reading.
func (p *poller) addBell(fd int) error {
	ev := event{Events: (syscall.EPOLLIN | -syscall.EPOLLET) & 0xffffffff, Fd: int32(fd)}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &ev)
}

func (p *poller) close() { p.file.Close() }

// rawRead reads from a non-blocking socket. RawSyscall: the call cannot block,
// so the scheduler need not know of it; recvfrom and sendto, because they skip
// what read and write do for files.
func rawRead(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// rawWrite writes to a non-blocking socket; Go ignores SIGPIPE on sockets, the
// error is EPIPE.
func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), syscall.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// writable tells whether a socket has room for a good deal, a third of its buffer. If
// it has not, an event will tell when it has: tcp_poll notes that somebody waits.
func writable(fd int) bool {
	p := struct {
		fd             int32
		events, revent int16
	}{fd: int32(fd), events: 0x4} // POLLOUT
	var now syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n > 0 || errno != 0
}

// roomForRecords gives a socket a buffer of which a third holds several TLS records.
func roomForRecords(fd int) {
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 256<<10)
}

// rawAccept takes one connection off a listening socket, non-blocking already.
// Nobody asks for the peer's address, for which syscall.Accept4 would allocate.
func rawAccept(fd int) (int, error) {
	nfd, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), 0, 0, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(nfd), nil
}

func dupCloexec(fd int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(n), nil
}

// bell wakes a parked loop: an eventfd in its epoll instance.
func newBell() (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("eventfd", errno)
	}
	return int(fd), nil
}

var one = [8]byte{1}

// ring wakes the loop. An eventfd that is full is ringing already.
func ring(fd int) {
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one[0])), 8)
}

func hush(fd int) {
	var b [8]byte
	syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 8)
}

func closeFD(fd int) { syscall.Close(fd) }

// bindFree lets a socket be bound to an address that is not on this machine yet
// (ip(7), IP_FREEBIND). It needs no capability.
func bindFree(network, _ string, c syscall.RawConn) (err error) {
	level, option := syscall.SOL_IP, 15 // IP_FREEBIND
	if network == "tcp6" {
		level, option = syscall.SOL_IPV6, 78 // IPV6_FREEBIND
	}
	if cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), level, option, 1) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt", err)
}

// localAddress is the address of this machine that a client is connected to.
func localAddress(fd int) netip.Addr {
	sa, _ := syscall.Getsockname(fd)
	return addressOf(sa).Addr()
}

// peerAddress is where a client is connected from, for the log.
func peerAddress(fd int) string {
	sa, _ := syscall.Getpeername(fd)
	return addressOf(sa).String()
}

func addressOf(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// shutdownWrite tells the peer that no more will come.
func shutdownWrite(fd int) { syscall.Shutdown(fd, syscall.SHUT_WR) }

// tune: with Nagle's algorithm a second reply waits for the client's delayed
// acknowledgement; without keepalives a client whose host is gone stays for ever.
func tune(fd int) {
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 60)
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15)
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 4)
}
