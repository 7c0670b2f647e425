package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"holdfast/health"
)

// Set by the linker: -X main.version=v1.2.3 -X main.commit=0123abc. Without it
// they are what Go itself noted when it built the program.
var version, commit string

// build says which program this is.
func build() health.Build {
	b := health.Build{Version: version, Commit: commit, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = cmp.Or(b.Commit, s.Value)
		}
	}
	b.Version = cmp.Or(b.Version, info.Main.Version, "unknown")
	b.Commit = cmp.Or(b.Commit, "unknown")
	return b
}

// printVersion is the command version.
func printVersion(_ context.Context, args []string, out streams) int {
	if code, ok := parse(flags("version"), args, "Prints version and commit.", out); !ok {
		return code
	}
	b := build()
	fmt.Fprintf(out.out, "holdfast %s (commit %s, %s, %s/%s)\n", b.Version, b.Commit, b.Go, runtime.GOOS, runtime.GOARCH)
	return fine
}
