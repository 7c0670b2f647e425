package health

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": ago, "span": span, "many": many, "bytes": bytes, "dash": dash, "total": total,
	"listenerState": listenerState, "routerMood": routerMood, "addresses": addresses, "lease": lease, "peer": peer, "reasons": reasons[uint64],
	"latestFirst": func(f []Failover) []Failover {
		f = slices.Clone(f)
		slices.Reverse(f)
		return f
	},
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"day":   func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
}).Parse(pageText))

// refresh is how often a browser asks again, in seconds.
const refresh = "3"

// page is the status for a person: one look tells whether all is well, and if
// not, why not. It needs nothing from anywhere else and runs no script.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	var body strings.Builder
	if err := pageTemplate.Execute(&body, s.status()); err != nil {
		text(w, http.StatusInternalServerError, err.Error())
		return
	}
	plain(w, "text/html; charset=utf-8")
	h := w.Header()
	h.Set("Refresh", refresh)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write([]byte(body.String())) // a reader that has gone is no concern of ours
}

// Mood is the headline's colour: good, odd or bad.
func (st *Status) Mood() string {
	switch {
	case !st.Ready:
		return "bad"
	case len(st.Troubles) > 0:
		return "odd"
	}
	return "good"
}

// Mood is the colour of the master's state: good or bad.
func (m Master) Mood() string {
	if m.serving() {
		return "good"
	}
	return "bad"
}
