package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"holdfast/internal/chaos"
	"holdfast/internal/redistest"
)

// front is the holdfast that is shown.
type front struct {
	*chaos.Front
	log *os.File // its own, removed in the end
}

// startFront runs holdfast and waits until it is ready.
func startFront(ctx context.Context, c *redistest.Cluster, binary, release string) (*front, error) {
	log, err := os.CreateTemp("", "holdfast-demo-")
	if err != nil {
		return nil, err
	}
	f := &front{log: log}
	if f.Front, err = chaos.Holdfast(binary, release, "").Start(ctx, c, log); err != nil {
		err = errors.Join(err, f.lastWords())
		f.discard()
		return nil, err
	}
	return f, nil
}

func (f *front) discard() {
	f.log.Close()
	_ = os.Remove(f.log.Name()) // in the system's own directory for such files
}

func (f *front) stop() {
	f.Stop()
	f.discard()
}

// story is the last failover as holdfast tells it.
func (f *front) story(ctx context.Context) (string, error) {
	st, err := f.Status(ctx)
	if err != nil {
		return "", err
	}
	failovers := st.Masters[0].Failovers
	if len(failovers) == 0 {
		return "", nil
	}
	return failovers[len(failovers)-1].Story(), nil
}

// lastWords is the end of holdfast's log.
func (f *front) lastWords() error {
	text, err := os.ReadFile(f.log.Name())
	if err != nil {
		return err
	}
	return fmt.Errorf("the end of holdfast's log:\n%s", text[max(0, len(text)-3000):])
}
