package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"holdfast/config"
	"holdfast/vip"
)

const fileFlag = "configuration `file`; without it, the environment alone (HOLDFAST_SENTINELS, HOLDFAST_MASTER, ...)"

// load reads a configuration. All faults are printed, one a line.
func load(file string, out streams) (*config.Config, bool) {
	cfg, err := config.Load(file)
	if err == nil {
		return cfg, true
	}
	if file == "" {
		fmt.Fprintln(out.err, "holdfast: no file is named (-c), and the environment alone is no configuration:")
	} else {
		fmt.Fprintf(out.err, "holdfast: %s cannot be used:\n", file)
	}
	for fault := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(out.err, "  %s\n", fault)
	}
	return nil, false
}

// source is where a configuration comes from, in words.
func source(file string) string { return cmp.Or(file, "the environment") }

// check is the command of that name.
func check(_ context.Context, args []string, out streams) int {
	set := flags("check [-c FILE] [-print]")
	file := set.String("c", "", fileFlag)
	show := set.Bool("print", false, "print the configuration in effect, defaults filled in and passwords as stars")
	if code, ok := parse(set, args, "Reads a configuration as run would, and names all its faults.", out); !ok {
		return code
	}
	cfg, ok := load(*file, out)
	if !ok {
		return misusage
	}
	if *show {
		fmt.Fprint(out.out, cfg)
	} else {
		fmt.Fprintf(out.out, "%s is fine\n", source(*file))
	}
	if warning := descriptors(cfg.Limits); warning != "" {
		fmt.Fprintf(out.err, "holdfast: on this machine, %s\n", warning)
	}
	if err := vip.Check(cfg.VIP); err != nil {
		for fault := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(out.err, "holdfast: on this machine and for this user, %s\n", fault)
		}
	}
	return fine
}

// anything is a configuration of which only the health address counts.
const anything = "sentinel: {addresses: [localhost:26379]}\nlisteners: [{address: 'localhost:0', master: any}]\n"

// healthOf is the configured health.address. Without a file it is what the
// environment says, or the default; whether the rest of the environment would do
// for run is not asked, since the instance may have been started with a file.
func healthOf(file string, out streams) (address string, ok bool) {
	if file != "" {
		cfg, ok := load(file, out)
		if !ok {
			return "", false
		}
		return cfg.Health.Address, true
	}
	cfg, err := config.Parse([]byte(anything), func(name string) (string, bool) {
		return os.Getenv(name), name == healthVariable
	})
	if err != nil {
		fmt.Fprintf(out.err, "holdfast: %v\n", err)
		return "", false
	}
	return cfg.Health.Address, true
}

const healthVariable = "HOLDFAST_HEALTH"
