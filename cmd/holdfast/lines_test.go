package main

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests; what is awaited takes moments.
const patience = 30 * time.Second

// lines is a log that tests can wait for.
type lines struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{} // closed at the next write
}

func newLines() *lines { return &lines{grown: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the first line that has all these words.
func (l *lines) await(t *testing.T, words ...string) string {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		grown := l.grown
		l.mu.Unlock()
		if found := l.with(words...); len(found) > 0 {
			return found[0]
		}
		select {
		case <-grown:
		case <-late.C:
			t.Fatalf("the log never says %q:\n%s", words, l)
		}
	}
}

// with returns the lines that have all these words.
func (l *lines) with(words ...string) (found []string) {
next:
	for line := range strings.Lines(l.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}
