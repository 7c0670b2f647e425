//go:build !linux

package redistest

import (
	"errors"
	"os"
	"syscall"
)

var errNotLinux = errors.New("network namespaces need Linux")

func newNamespace() error { return errNotLinux }

func enterNamespace(*os.File) error { return errNotLinux }

func dieWithParent(*syscall.SysProcAttr) {}
