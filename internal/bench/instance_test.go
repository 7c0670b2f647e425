//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
)

func TestMallocsAreReadFromTheMetrics(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "# HELP go_memstats_mallocs_total x\ngo_memstats_frees_total 1\ngo_memstats_mallocs_total 1.25e+06\n")
	}))
	defer server.Close()
	i := &instance{side: portOf(t, server.URL)}
	if got, err := i.mallocs(); err != nil || got != 1_250_000 {
		t.Errorf("mallocs = %v, %v", got, err)
	}
}

func TestMallocsOfOneThatTellsNone(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	i := &instance{endpoint: endpoint{name: "mute"}, side: portOf(t, server.URL)}
	if _, err := i.mallocs(); err == nil || err.Error() != "mute tells no allocations" {
		t.Errorf("error %v", err)
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
