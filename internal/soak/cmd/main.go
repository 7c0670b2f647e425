// Command soak has many clients check every reply that comes through holdfast, in
// front of a real cluster whose master changes. It exits with 1 if one byte of
// one reply was not what that client alone could expect, and with 2 for wrong
// usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"holdfast/config"
	"holdfast/internal/soak"
)

func main() {
	cfg := soak.Config{Out: os.Stdout}
	mode := ""
	flag.DurationVar(&cfg.Duration, "duration", 10*time.Minute, "how long the clients go on")
	flag.IntVar(&cfg.Clients, "clients", 200, "clients at a time")
	flag.Uint64Var(&cfg.Seed, "seed", uint64(time.Now().UnixNano()), "of everything random")
	flag.DurationVar(&cfg.Fault, "fault", 20*time.Second, "between two faults; 0: none")
	flag.StringVar(&mode, "mode", "shared", "holdfast's listener mode: shared or dedicated")
	flag.IntVar(&cfg.Loops, "loops", 0, "holdfast's loops; 0: its own choice")
	flag.BoolVar(&cfg.TLS, "tls", false, "the nodes and Sentinels speak TLS and nothing else; a quarter of the clients does always")
	flag.Parse()
	if cfg.Mode = config.Mode(mode); flag.NArg() > 0 || cfg.Clients < 1 || cfg.Mode != config.Shared && cfg.Mode != config.Dedicated {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("seed %d, %d clients, %v\n", cfg.Seed, cfg.Clients, cfg.Duration)
	rep, err := soak.Run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	rep.Print(os.Stdout)
	if !rep.OK() {
		os.Exit(1)
	}
}
