package vip

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// launcher is the name under which this program runs to become a notify command.
//
// Nothing of a program in Go goes on while it starts another, for as long as it
// takes to open the other's file: a disk that is busy, a file server that is away, or
// a scanner that looks for viruses would stop the loops, and the router until its
// lease is lost. So what is started is this program once more, whose file is at hand,
// and that opens the command's.
const launcher = "holdfast-notify"

// Launched makes a notify command of this process if it was started for one, and
// returns if it was not. A program that runs routers calls it before all else.
func Launched() {
	if len(os.Args) < 2 || os.Args[0] != launcher {
		return
	}
	path, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = syscall.Exec(path, os.Args[1:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
	os.Exit(127) // as a shell
}
