package main

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// newLog makes the log as configured. close writes what is left, if that can be
// done within a second.
func newLog(cfg config.Log, stderr io.Writer) (log zerolog.Logger, close func()) {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		level = zerolog.InfoLevel // config lets only levels through
	}
	terminal := isTerminal(stderr)
	if cfg.Format == "console" || cfg.Format == "auto" && terminal {
		stderr = zerolog.ConsoleWriter{Out: stderr, NoColor: !terminal, TimeFormat: "15:04:05.000"}
	}
	q := &logQueue{lines: make(chan []byte, queuedLines), closing: make(chan struct{}), closed: make(chan struct{})}
	go q.run(stderr)
	return zerolog.New(q).Level(level).With().Timestamp().Logger(), q.close
}

// isTerminal says whether a person is likely to read along.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// queuedLines is how many lines may wait for a reader of the log.
const queuedLines = 1024

// logQueue keeps the log from holding anybody up: the loops write to it, and
// whoever reads stderr may be slow, stuck or gone. Lines that find no room are
// dropped and counted. (The ring that comes with zerolog can leave the last line
// lying until the next one is written.)
type logQueue struct {
	lines   chan []byte
	dropped atomic.Uint64
	closing chan struct{}
	closed  chan struct{}
}

// Write never blocks and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line): // zerolog uses its buffer again
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

// run is the goroutine that writes. It ends when the queue is closed and empty.
func (q *logQueue) run(to io.Writer) {
	defer close(q.closed)
	for {
		select {
		case line := <-q.lines:
			q.put(to, line)
		case <-q.closing:
			select {
			case line := <-q.lines:
				q.put(to, line)
			default:
				return
			}
		}
	}
}

func (q *logQueue) put(to io.Writer, line []byte) {
	_, _ = to.Write(line) // there is nowhere to report it
	if n := q.dropped.Swap(0); n > 0 {
		log := zerolog.New(to).With().Timestamp().Logger()
		log.Warn().Uint64("lines", n).Msg("log lines were dropped: stderr is not read fast enough")
	}
}

// close waits for the lines that are left, but not for a reader that is stuck.
func (q *logQueue) close() {
	close(q.closing)
	select {
	case <-q.closed:
	case <-time.After(time.Second):
	}
}
