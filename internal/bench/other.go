//go:build !linux

// Command bench compares ways to one Redis; it needs Linux (epoll, /proc and
// the CPU clocks of other processes).
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: runs on Linux only")
	os.Exit(2)
}
