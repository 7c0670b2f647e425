package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// aliveTime is how long the loops have to answer. One that is stuck for so long
// has clients that wait.
const aliveTime = 2 * time.Second

// healthz answers 200 while the loops answer: restart the process otherwise. It
// is not about Redis or the Sentinels, which no restart here would mend.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), aliveTime)
	defer cancel()
	if err := s.below.Alive(ctx); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text(w, http.StatusOK, "ok")
}

// readyz answers 200 while clients can be served, else 503 and why not, one
// reason a line.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if reasons := s.status().NotReady; len(reasons) > 0 {
		text(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
		return
	}
	text(w, http.StatusOK, "ready")
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(s.status(), "", "  ")
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error())
		return
	}
	plain(w, "application/json")
	_, _ = w.Write(append(body, '\n')) // a reader that has gone is no concern of ours
}

// text answers with lines of plain text.
func text(w http.ResponseWriter, code int, lines string) {
	plain(w, "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, lines) // a reader that has gone is no concern of ours
}

// plain marks an answer as just what it says it is, for this moment only.
func plain(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}
