// Command holdfast is a Redis proxy that carries its clients through a Sentinel
// failover.
//
// Here are flags, signals and wiring; what holdfast does is in the packages that
// are wired together. Exit codes: 0 fine, 1 failed at run time, 2 wrong usage or
// configuration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"holdfast/vip"
)

// The exit codes.
const (
	fine     = 0
	failed   = 1
	misusage = 2
)

func main() {
	vip.Launched()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// command is one subcommand. Its flags are parsed by itself.
type command struct {
	name  string
	brief string
	run   func(ctx context.Context, args []string, out streams) int
}

// streams are where a command writes: answers to out, the rest to err.
type streams struct{ out, err io.Writer }

var commands = []command{
	{"run", "serve until TERM or INT, then drain", serve},
	{"check", "read a configuration and name all its faults", check},
	{"status", "show what a running holdfast sees", status},
	{"health", "ask a running holdfast whether it is alive, for container health checks", alive},
	{"switchover", "have another node be master, planned, with nothing lost", switchover},
	{"version", "print version and commit", printVersion},
}

// run is the whole program: main without the process. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return misusage
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, args[1:], streams{stdout, stderr})
		}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return fine
	}
	fmt.Fprintf(stderr, "holdfast: there is no command %q\n\n", args[0])
	usage(stderr)
	return misusage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "holdfast is one Redis address in front of a Sentinel cluster.\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  holdfast %-10s %s\n", c.name, c.brief)
	}
	fmt.Fprint(w, "\nholdfast COMMAND -h tells the flags of a command.\n"+
		"Exit codes: 0 fine, 1 failed at run time, 2 wrong usage or configuration.\n")
}

// parse reads flags into set. Unless ok, the command ends with this code.
func parse(set *flag.FlagSet, args []string, about string, out streams) (code int, ok bool) {
	var said strings.Builder
	set.SetOutput(&said)
	set.Usage = func() {
		fmt.Fprintf(&said, "usage: holdfast %s\n\n%s\n", set.Name(), about)
		set.PrintDefaults()
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out.out, said.String())
		return fine, false
	case err != nil:
		fmt.Fprint(out.err, "holdfast: ", said.String())
		return misusage, false
	case set.NArg() > 0:
		fmt.Fprintf(out.err, "holdfast: %q is not understood; a file is named with -c\n", set.Arg(0))
		return misusage, false
	}
	return fine, true
}

// flags is an empty set for one command; line is its usage in short.
func flags(line string) *flag.FlagSet { return flag.NewFlagSet(line, flag.ContinueOnError) }
