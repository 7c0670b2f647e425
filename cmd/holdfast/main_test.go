package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// asProgram makes this test binary the program itself, so that tests can run it
// as a process of its own.
const asProgram = "HOLDFAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// call runs the program within this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

// write puts text into a file of its own.
func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = `sentinel: {addresses: [127.0.0.1:1]}
listeners: [{address: "127.0.0.1:0", master: mymaster}]
health: {address: "127.0.0.1:0"}
limits: {max_clients: 10}
`

const threeFaults = `sentinel: {addresses: []}
listeners: [{address: 127.0.0.1:6379, master: mymaster, mode: magic}]
hold: {max_wait: 2h}
`

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args        []string
		code        int
		out, errOut string // contained; "" for nothing
	}{
		{nil, misusage, "", "holdfast run "},
		{[]string{"help"}, fine, "holdfast run ", ""},
		{[]string{"--help"}, fine, "holdfast run ", ""},
		{[]string{"serve"}, misusage, "", `there is no command "serve"`},
		{[]string{"run", "-h"}, fine, "HUP changes nothing", ""},
		{[]string{"run", "-x"}, misusage, "", "flag provided but not defined: -x"},
		{[]string{"run", "holdfast.yaml"}, misusage, "", `"holdfast.yaml" is not understood; a file is named with -c`},
		{[]string{"check", "-h"}, fine, "usage: holdfast check [-c FILE]", ""},
		{[]string{"version", "now"}, misusage, "", `"now" is not understood`},
		{[]string{"version"}, fine, runtime.Version(), ""},
		{[]string{"status", "-a", "h:1", "-c", "f"}, misusage, "", "give one of them"},
		{[]string{"status", "-a", "nowhere"}, misusage, "", `"nowhere" is not host:port`},
		{[]string{"health", "-a", "127.0.0.1:0"}, misusage, "", "port 0"},
	} {
		code, out, errOut := call(t, c.args...)
		if code != c.code || !says(out, c.out) || !says(errOut, c.errOut) {
			t.Errorf("%v: %d\n%s\n%s", c.args, code, out, errOut)
		}
	}
}

func says(text, part string) bool { return strings.Contains(text, part) && (part != "" || text == "") }

func TestCheck(t *testing.T) {
	file := write(t, good+"redis: {password: hush}\n")
	if code, out, errOut := call(t, "check", "-c", file); code != fine || out != file+" is fine\n" || errOut != "" {
		t.Errorf("%d\n%s\n%s", code, out, errOut)
	}
	code, out, _ := call(t, "check", "-c", file, "-print")
	if code != fine || !strings.Contains(out, "max_wait: 30s") || strings.Contains(out, "hush") {
		t.Errorf("%d\n%s", code, out)
	}
}

// What is wrong is told by run as by check: everything, and before anything is
// started.
func TestAllFaultsAreTold(t *testing.T) {
	for _, command := range []string{"run", "check"} {
		code, out, errOut := call(t, command, "-c", write(t, threeFaults))
		if code != misusage || out != "" {
			t.Errorf("%s: %d %q", command, code, out)
		}
		for _, key := range []string{"sentinel.addresses: ", "listeners[0].mode: ", "hold.max_wait: "} {
			if !strings.Contains(errOut, "\n  "+key) {
				t.Errorf("%s does not tell of %s:\n%s", command, key, errOut)
			}
		}
	}
	code, _, errOut := call(t, "run", "-c", filepath.Join(t.TempDir(), "absent.yaml"))
	if code != misusage || !strings.Contains(errOut, "no such file") {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestEnvironmentAlone(t *testing.T) {
	if code, _, errOut := call(t, "check"); code != misusage || !strings.Contains(errOut, "HOLDFAST_SENTINELS") {
		t.Errorf("%d %s", code, errOut)
	}
	t.Setenv("HOLDFAST_SENTINELS", "10.0.0.1:26379,10.0.0.2:26379")
	t.Setenv("HOLDFAST_MASTER", "mymaster")
	if code, _, errOut := call(t, "check"); code != fine {
		t.Errorf("%d %s", code, errOut)
	}
}

// answering is a running holdfast, as far as the two commands that ask one see it.
func answering(t *testing.T, code int, body string) (address string, asked *string) {
	t.Helper()
	asked = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.Path
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), asked
}

func TestStatus(t *testing.T) {
	const body = `{"version": "v9", "ready": true, "uptime": 60, "masters": [{"name": "mymaster", "state": "serving", "address": "10.0.0.1:6379"}]}`
	address, asked := answering(t, http.StatusOK, body)
	code, out, errOut := call(t, "status", "-a", address)
	if code != fine || *asked != "/status" || !strings.Contains(out, "holdfast v9, up 1m0s: serving") || !strings.Contains(out, "10.0.0.1:6379") {
		t.Errorf("%d %s\n%s\n%s", code, *asked, out, errOut)
	}
	if code, out, _ := call(t, "status", "-a", address, "-json"); code != fine || out != body {
		t.Errorf("%d %s", code, out)
	}
	file := write(t, strings.Replace(good, `health: {address: "127.0.0.1:0"}`, "health: {address: '"+address+"'}", 1))
	if code, out, _ := call(t, "status", "-c", file); code != fine || !strings.Contains(out, "v9") {
		t.Errorf("by its file: %d %s", code, out)
	}
	t.Setenv(healthVariable, address)
	if code, out, _ := call(t, "status"); code != fine || !strings.Contains(out, "v9") {
		t.Errorf("by the environment: %d %s", code, out)
	}
}

func TestStatusOfSomethingElse(t *testing.T) {
	for _, c := range []struct {
		code       int
		body, want string
	}{
		{http.StatusNotFound, "", "answered 404 Not Found; is it the health address of a holdfast?"},
		{http.StatusOK, "<html>", "is not a status"},
	} {
		address, _ := answering(t, c.code, c.body)
		if code, _, errOut := call(t, "status", "-a", address); code != failed || !strings.Contains(errOut, c.want) {
			t.Errorf("%d %s", code, errOut)
		}
	}
	if code, _, errOut := call(t, "status", "-a", "127.0.0.1:1"); code != failed || !strings.Contains(errOut, "refused") {
		t.Errorf("nobody there: %d %s", code, errOut)
	}
}

func TestHealth(t *testing.T) {
	address, asked := answering(t, http.StatusOK, "ok\n")
	if code, out, _ := call(t, "health", "-a", address); code != fine || out != "ok\n" || *asked != "/healthz" {
		t.Errorf("%d %s %s", code, out, *asked)
	}
	address, _ = answering(t, http.StatusServiceUnavailable, "loop 1 of 2 does not answer\n")
	if code, _, errOut := call(t, "health", "-a", address); code != failed || !strings.Contains(errOut, "loop 1 of 2") {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		":9121": "127.0.0.1:9121", "0.0.0.0:9121": "127.0.0.1:9121", "[::]:9121": "[::1]:9121",
		"10.0.0.7:9121": "10.0.0.7:9121", "redis.internal:9121": "redis.internal:9121",
	} {
		if got, err := reachable(address); got != want {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	if _, err := reachable(""); err == nil {
		t.Error("a holdfast without health can be asked")
	}
}

// The whole house within this process: the end of the context is the first TERM,
// and nothing is left of it.
func TestRunEndsWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := newLines()
	ended := make(chan int)
	go func() { ended <- run(ctx, []string{"run", "-c", write(t, good)}, log, log) }()
	log.await(t, "listening")
	cancel()
	if code := <-ended; code != fine {
		t.Errorf("exit code %d\n%s", code, log)
	}
	log.await(t, "holdfast ends")
}
