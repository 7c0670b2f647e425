package vip

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// granting says how the capabilities are given to a process that is not root.
const granting = "grant both CAP_NET_ADMIN and CAP_NET_RAW: systemd: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW; " +
	"docker run --user 0 --cap-add NET_ADMIN --cap-add NET_RAW; or setcap cap_net_admin,cap_net_raw+ep %s"

// permitted explains the two errors of trying what takes a capability. Trying is
// the only sure way to know: a container may have a capability that does not count
// on the network it is in.
func permitted(raw, admin error) error {
	var missing []error
	if errors.Is(raw, unix.EPERM) {
		missing = append(missing, fmt.Errorf("CAP_NET_RAW is missing, adverts cannot be sent: %w", raw))
		raw = nil
	}
	if errors.Is(admin, unix.EPERM) {
		missing = append(missing, fmt.Errorf("CAP_NET_ADMIN is missing, an address cannot be owned: %w", admin))
		admin = nil
	}
	if len(missing) > 0 {
		program, err := os.Executable()
		if err != nil {
			program = os.Args[0]
		}
		missing = append(missing, fmt.Errorf(granting, program))
	}
	return errors.Join(append(missing, raw, admin)...)
}

// tryRaw tries what CAP_NET_RAW is needed for.
func tryRaw() error {
	for family, p := range map[int]int{unix.AF_INET: protocol, unix.AF_PACKET: 0} {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, p)
		if err != nil {
			return fmt.Errorf("raw socket: %w", err)
		}
		unix.Close(fd)
	}
	return nil
}
