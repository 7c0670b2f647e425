package redistest

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What only Linux has: network namespaces, and children that end with us.

func newNamespace() error { return unix.Unshare(unix.CLONE_NEWNET) }

func enterNamespace(ns *os.File) error { return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET) }

func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
