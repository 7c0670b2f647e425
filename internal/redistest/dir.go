package redistest

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const dirPattern = "holdfast-redis-"

// dir is a temporary directory with a locked file in it. The kernel drops the
// lock when its owner dies, which is how a later run knows what was left behind.
type dir struct {
	path string
	lock *os.File
}

// newDir makes a directory, after it removed those of owners that are gone.
func newDir() (*dir, error) {
	sweep()
	path, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(path, os.O_CREATE)
	if err != nil {
		os.RemoveAll(path)
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &dir{path: path, lock: lock}, nil
}

func lockFile(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes the directories whose lock nobody holds. One without a lock
// file is being made just now: it is left alone.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	for _, path := range left {
		if lock, err := lockFile(path, 0); err == nil {
			os.RemoveAll(path)
			lock.Close()
		}
	}
}

func (d *dir) remove() error {
	defer d.lock.Close()
	return os.RemoveAll(d.path)
}
