package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast/sentinel"
)

// post asks for a switchover as peer would.
func post(s *Server, peer, query string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "/switchover?"+query, nil)
	r.RemoteAddr = peer
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.routes.ServeHTTP(w, r)
	return w.Result()
}

const here = "127.0.0.1:1000"

func TestSwitchoverIsRefused(t *testing.T) {
	s := calm().server()
	s.below.Switchover = func(context.Context, sentinel.Switchover) error {
		t.Error("it began")
		return nil
	}
	for _, c := range []struct {
		name, peer, query string
		header            []string
		want              int
	}{
		{"from elsewhere", "192.0.2.1:1000", "master=mymaster", nil, http.StatusForbidden},
		{"from elsewhere, IPv6", "[2001:db8::1]:1000", "master=mymaster", nil, http.StatusForbidden},
		{"by a page", here, "master=mymaster", []string{"Origin", "http://localhost"}, http.StatusForbidden},
		{"of nobody", here, "", nil, http.StatusBadRequest},
		{"neither true nor false", here, "master=m&dry_run=maybe", nil, http.StatusBadRequest},
		{"without end", here, "master=m&timeout=1h", nil, http.StatusBadRequest},
	} {
		if answer := post(s, c.peer, c.query, c.header...); answer.StatusCode != c.want {
			t.Errorf("%s: %s", c.name, answer.Status)
		}
	}
	if code, _ := ask(t, s, http.MethodGet, "/switchover?master=mymaster"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", code)
	}
}

func TestSwitchoverIsTold(t *testing.T) {
	w := calm()
	s := w.server()
	var asked sentinel.Switchover
	var outcome error
	s.below.Switchover = func(_ context.Context, o sentinel.Switchover) error {
		asked = o
		o.Say("a step")
		carried := &w.proxy.Masters[0].Carried
		last := (*carried)[len(*carried)-1]
		last.At, last.Held = time.Now(), 7
		*carried = append(*carried, last)
		return outcome
	}
	tell := func(query string) (said, trailer string) {
		answer := post(s, here, query)
		var b strings.Builder
		if err := answer.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String(), answer.Trailer.Get(OutcomeTrailer)
	}
	said, trailer := tell("master=mymaster&fence_writers=true&timeout=2s")
	if trailer != OutcomeDone || !strings.Contains(said, "a step\n") || !strings.Contains(said, "clients: 7 waited") {
		t.Errorf("%s %s", trailer, said)
	}
	if asked.Master != "mymaster" || !asked.FenceWriters || asked.DryRun || asked.Timeout != 2*time.Second {
		t.Errorf("asked for %+v", asked)
	}
	outcome = errors.New("no replica")
	said, trailer = tell("master=mymaster&dry_run=true")
	if trailer != OutcomeFailed || !strings.Contains(said, "not switched over: no replica") || !asked.DryRun || asked.Timeout != usualSwitchover {
		t.Errorf("%s %s %+v", trailer, said, asked)
	}
}
