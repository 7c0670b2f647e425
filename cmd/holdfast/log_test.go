package main

import (
	"strconv"
	"strings"
	"testing"

	"holdfast/config"
)

// stuck is a reader of the log that reads nothing until it is let go.
type stuck struct {
	*lines
	gone chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.gone
	return s.lines.Write(p)
}

func TestStuckReaderHoldsNobodyUp(t *testing.T) {
	reader := stuck{newLines(), make(chan struct{})}
	log, closeLog := newLog(config.Log{Level: "info", Format: "json"}, reader)
	const lines = queuedLines + 100
	for i := range lines {
		log.Info().Int("number", i).Msg("said")
	}
	closeLog() // gives up after a second
	close(reader.gone)
	reader.await(t, "log lines were dropped")
	reader.await(t, `"number":`+strconv.Itoa(queuedLines-1)+",")
	if dropped := lines - len(reader.with(`"message":"said"`)); dropped < 99 || dropped > 100 {
		t.Errorf("%d of %d lines were dropped", dropped, lines)
	}
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"json", `"level":"warn"`}, {"auto", `"level":"warn"`}, {"console", "WRN"},
	} {
		out := newLines()
		log, closeLog := newLog(config.Log{Level: "warn", Format: c.format}, out)
		log.Info().Msg("too quiet")
		log.Warn().Msg("heard")
		closeLog()
		if said := out.String(); !strings.Contains(said, c.want) || strings.Contains(said, "quiet") || strings.Contains(said, "\x1b") {
			t.Errorf("%s: %q", c.format, said)
		}
	}
}

func TestDescriptors(t *testing.T) {
	if w := descriptors(config.Limits{MaxClients: 1 << 40}); !strings.Contains(w, "LimitNOFILE") {
		t.Errorf("more clients than any system has descriptors for: %q", w)
	}
	if w := descriptors(config.Limits{MaxClients: 1}); w != "" {
		t.Errorf("a single client: %q", w)
	}
}
