package redistest

import (
	"errors"
	"os"
	"testing"
)

// New starts a cluster for a test and stops it at the test's end; a failed test
// then prints the last lines of each process' log. The test is skipped when
// it wants Options.Namespaces and this is not root. It is skipped, too, without a
// server in PATH, or when root cannot make namespaces: but where the environment
// says CI=true these two are failures.
func New(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	if o.Namespaces && os.Geteuid() != 0 {
		tb.Skip("SKIPPED, not tested: network namespaces need root")
	}
	c, err := Start(tb.Context(), o)
	if errors.Is(err, errNoServer) || errors.Is(err, errNamespaces) {
		missing(tb, err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Logs(40))
		}
		c.Stop()
	})
	return c
}

// missing skips the test, or fails it where skipping would hide it for good.
func missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal("cannot run:", what)
	}
	tb.Skip("SKIPPED, not tested:", what)
}
