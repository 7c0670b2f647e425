package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"holdfast/health"
)

const (
	askTime  = 5 * time.Second
	askBytes = 16 << 20 // of an answer
)

const aboutStatus = `Shows what a running holdfast sees: masters, listeners, Sentinels, clients, the
last failovers, and what is wrong. Exit code 1 if it cannot be asked.`

// status is the command of that name.
func status(ctx context.Context, args []string, out streams) int {
	set := flags("status [-a ADDRESS | -c FILE] [-json]")
	raw := set.Bool("json", false, "print the answer as it came")
	return ask(ctx, set, args, out, aboutStatus, "/status", func(code int, body []byte) error {
		return tellStatus(code, body, *raw, out.out)
	})
}

const aboutHealth = "Asks a running holdfast whether it is alive. Exit code 0 if it is, 1 if not."

// alive is the command health.
func alive(ctx context.Context, args []string, out streams) int {
	set := flags("health [-a ADDRESS | -c FILE]")
	return ask(ctx, set, args, out, aboutHealth, "/healthz", func(code int, body []byte) error {
		return tellHealth(code, body, out.out)
	})
}

// ask asks a running holdfast for path and has the answer told.
func ask(ctx context.Context, set *flag.FlagSet, args []string, out streams, about, path string, tell func(code int, body []byte) error) int {
	address := set.String("a", "", "`address` of its health listener, host:port")
	file := set.String("c", "", "its configuration `file`; without it and -a, "+healthVariable+" or the default address")
	if code, ok := parse(set, args, about, out); !ok {
		return code
	}
	target, ok := whom(*address, *file, out)
	if !ok {
		return misusage
	}
	code, body, err := get(ctx, "http://"+target+path)
	if err == nil {
		err = tell(code, body)
	}
	if err != nil {
		fmt.Fprintf(out.err, "holdfast: %s: %v\n", target, err)
		return failed
	}
	return fine
}

// whom is the running holdfast that the flags -a and -c mean.
func whom(address, file string, out streams) (target string, ok bool) {
	if address == "" {
		if address, ok = healthOf(file, out); !ok {
			return "", false
		}
	} else if file != "" {
		fmt.Fprintln(out.err, "holdfast: -a and -c both tell the address; give one of them")
		return "", false
	}
	target, err := reachable(address)
	if err != nil {
		fmt.Fprintln(out.err, "holdfast:", err)
		return "", false
	}
	return target, true
}

// reachable is where to connect to reach what listens on address: every address
// of the machine is also its loopback one.
func reachable(address string) (string, error) {
	if address == "" {
		return "", errors.New("health.address is empty: this holdfast answers nobody")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", address)
	}
	if port == "0" {
		return "", errors.New("health.address has port 0, the system picked one; its log names it: give it with -a")
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip == netip.IPv4Unspecified() {
		host = "127.0.0.1"
	} else if err == nil && ip == netip.IPv6Unspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// get asks once. No proxy of the environment stands between a holdfast and those
// who ask it.
func get(ctx context.Context, url string) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, askBytes))
	return answer.StatusCode, body, err
}

func tellStatus(code int, body []byte, raw bool, out io.Writer) error {
	if code != http.StatusOK {
		return fmt.Errorf("answered %d %s; is it the health address of a holdfast?", code, http.StatusText(code))
	}
	var st health.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("its answer is not a status: %w", err)
	}
	if raw {
		_, err := out.Write(body)
		return err
	}
	return st.WriteText(out)
}

func tellHealth(code int, body []byte, out io.Writer) error {
	said := strings.TrimSpace(string(body))
	if code != http.StatusOK {
		return fmt.Errorf("answered %d: %.500s", code, said)
	}
	_, err := fmt.Fprintln(out, said)
	return err
}
