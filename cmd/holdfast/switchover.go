package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/health"
	"holdfast/proxy"
	"holdfast/sentinel"
)

// switcher gives a switchover the data path that it drains.
func switcher(group *sentinel.Group, p *proxy.Proxy) func(context.Context, sentinel.Switchover) error {
	return func(ctx context.Context, o sentinel.Switchover) error {
		o.Drain = func(ctx context.Context) error { return p.Rest(ctx, o.Master) }
		return group.Switchover(ctx, o)
	}
}

const aboutSwitchover = `Has a running holdfast on this machine make another node the master: it checks
that this can work, holds all commands, waits until those under way are answered
and the replicas have everything, and tells a Sentinel to fail over. Nothing that
was acknowledged is lost, and no client notices more than a pause. Any failure
leaves the old master in service.

Held are the commands that come through this one holdfast. For writers that do
not, other holdfasts included, --fence-writers has the old master refuse writes
meanwhile (NOREPLICAS), and puts that back in the end, whatever happens.

Exit code 0: another node is master, or with --dry-run could be; else 1.`

// switchover is the command of that name.
func switchover(ctx context.Context, args []string, out streams) int {
	set := flags("switchover MASTER [-a ADDRESS | -c FILE] [--dry-run] [--fence-writers] [--timeout 30s]")
	address := set.String("a", "", "`address` of its health listener, host:port")
	file := set.String("c", "", "its configuration `file`; without it and -a, "+healthVariable+" or the default address")
	dry := set.Bool("dry-run", false, "only check whether it can work")
	fence := set.Bool("fence-writers", false, "also hold off writers that do not come through this holdfast")
	timeout := set.Duration("timeout", 30*time.Second, "for the whole of it, 1s to 5m")
	master := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		master, args = args[0], args[1:]
	}
	if code, ok := parse(set, args, aboutSwitchover, out); !ok {
		return code
	}
	if master == "" {
		fmt.Fprintln(out.err, "holdfast: which master? holdfast switchover MASTER")
		return misusage
	}
	target, ok := whom(*address, *file, out)
	if !ok {
		return misusage
	}
	question := url.Values{
		"master": {master}, "timeout": {timeout.String()},
		"dry_run": {strconv.FormatBool(*dry)}, "fence_writers": {strconv.FormatBool(*fence)},
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := follow(ctx, "http://"+target+"/switchover?"+question.Encode(), out); err != nil {
		fmt.Fprintf(out.err, "holdfast: %s: %v\n", target, err)
		return failed
	}
	return fine
}

// follow asks, and prints the lines of the answer as they come.
func follow(ctx context.Context, url string, out streams) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	last := ""
	for lines.Scan() {
		last = lines.Text()
		fmt.Fprintln(out.out, last)
	}
	switch err := lines.Err(); {
	case err != nil:
		return fmt.Errorf("its answer broke off; it puts back what it changed: %w", err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	case answer.Trailer.Get(health.OutcomeTrailer) != health.OutcomeDone:
		return fmt.Errorf("the switchover has not been done")
	}
	return nil
}
