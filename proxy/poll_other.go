//go:build !linux

package proxy

import (
	"errors"
	"net/netip"
	"syscall"
)

// The data path stands on epoll. These names let everything else build and be
// tested elsewhere; New refuses with errNotLinux before any of them is used.
var errNotLinux = errors.New("holdfast's data path needs Linux (epoll)")

const (
	evRead  = 1
	evWrite = 2
	evGone  = 4
	evDead  = 8
)

type event struct {
	Events  uint32
	Fd, Pad int32
}

type poller struct{}

func newPoller() (*poller, error)                    { return nil, errNotLinux }
func (*poller) wait(bool) []event                    { return nil }
func (*poller) add(int, uint32) error                { return errNotLinux }
func (*poller) addBell(int) error                    { return errNotLinux }
func (*poller) close()                               {}
func newBell() (int, error)                          { return -1, errNotLinux }
func ring(int)                                       {}
func hush(int)                                       {}
func rawAccept(int) (int, error)                     { return -1, errNotLinux }
func dupCloexec(int) (int, error)                    { return -1, errNotLinux }
func rawRead(int, []byte) (int, syscall.Errno)       { return 0, syscall.ENOSYS }
func rawWrite(int, []byte) (int, syscall.Errno)      { return 0, syscall.ENOSYS }
func closeFD(int)                                    {}
func writable(int) bool                              { return false }
func roomForRecords(int)                             {}
func shutdownWrite(int)                              {}
func bindFree(string, string, syscall.RawConn) error { return errNotLinux }
func localAddress(int) netip.Addr                    { return netip.Addr{} }
func peerAddress(int) string                         { return "" }
func tune(int)                                       {}
