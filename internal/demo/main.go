// Command demo shows a failover from both sides: what the Sentinels did and what
// the clients of a holdfast saw of it.
//
// It runs a cluster of its own, on loopback and free ports, with a holdfast in
// front: a master, two replicas, three Sentinels. Clients work through the
// endpoint all the time, while the demo asks for a planned failover and then kills
// the master. It ends with 1 if a client's connection was cut, if the planned
// failover lost an acknowledged write, or if something did not come about within
// a minute. Nothing of it is left behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"holdfast/internal/redistest"
)

// longest bounds the whole demo.
const longest = time.Minute

func main() {
	binary := flag.String("holdfast", "bin/holdfast", "the holdfast `binary` to show")
	release := flag.String("release", "confirmed", "its failover.release: confirmed or promoted")
	flag.Parse()
	told, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(told, longest)
	defer cancel()
	err := run(ctx, *binary, *release, os.Stdout)
	if told.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// act is one failover of the show.
type act struct {
	title   string
	trigger func(context.Context, *redistest.Cluster, *redistest.Node) error
	lossy   bool // asynchronous replication may lose what the master had not passed on
}

var acts = []act{
	{
		title: "A planned failover: SENTINEL FAILOVER",
		trigger: func(ctx context.Context, c *redistest.Cluster, _ *redistest.Node) error {
			return c.Failover(ctx)
		},
	},
	{
		title: "The master is killed: kill -9",
		trigger: func(_ context.Context, _ *redistest.Cluster, master *redistest.Node) error {
			master.Kill()
			return nil
		},
		lossy: true,
	},
}

func run(ctx context.Context, binary, release string, out io.Writer) error {
	fmt.Fprintln(out, "Starting a master, two replicas, three Sentinels, and holdfast in front of them ...")
	cluster, err := redistest.Start(ctx, redistest.Options{Replicas: 2, Sentinels: 3})
	if err != nil {
		return err
	}
	defer cluster.Stop()
	front, err := startFront(ctx, cluster, binary, release)
	if err != nil {
		return err
	}
	defer front.stop()
	fmt.Fprintf(out, "Clients connect to %s and are told nothing of what follows.\n", front.Addr)

	crew, err := startCrew(ctx, front.Addr)
	if err != nil {
		return errors.Join(err, front.lastWords())
	}
	defer crew.stop()
	s := stage{cluster: cluster, front: front, crew: crew, out: out}
	for i, a := range acts {
		if err := s.play(ctx, i+1, a); err != nil {
			return errors.Join(err, front.lastWords())
		}
	}
	return s.curtain(ctx)
}

// stage is everything that the acts share.
type stage struct {
	cluster *redistest.Cluster
	front   *front
	crew    *crew
	out     io.Writer
	began   time.Time // of the last act
	lost    int       // acknowledged writes that are missing
	failure error
}

// awaitWhole waits until the old master of the act before is a replica again.
func (s *stage) awaitWhole(ctx context.Context) error {
	if !s.began.IsZero() {
		fmt.Fprint(s.out, "\nSentinel leaves the old master as it is for a while, to be written to by anybody else ... ")
	}
	if err := s.cluster.AwaitReady(ctx); err != nil {
		return err
	}
	if !s.began.IsZero() {
		fmt.Fprintf(s.out, "it is a replica now, after %.1f s.\n", time.Since(s.began).Seconds())
	}
	return nil
}

// What an act leaves time for: quiet before the fault, and the leader's own
// news of the switch, which it gives a second after the others.
const (
	before = time.Second
	after  = 3 * time.Second
)

// play is one act: the fault, what the Sentinels said of it as they said it, and
// then what came of it.
func (s *stage) play(ctx context.Context, number int, a act) error {
	if err := s.awaitWhole(ctx); err != nil {
		return err
	}
	old, err := s.cluster.AwaitMaster(ctx, nil)
	if err != nil {
		return err
	}
	if err := pause(ctx, before); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%d. %s\n", number, a.title)
	events := watch(ctx, s.cluster, s.out)
	s.began = events.began
	defer events.stop()
	earlier := s.crew.tally()
	s.crew.resetGap()
	if err := a.trigger(ctx, s.cluster, old); err != nil {
		return err
	}
	master, err := s.cluster.AwaitMaster(ctx, func(n *redistest.Node) bool { return n != old })
	if err != nil {
		return err
	}
	if err := s.crew.awaitProgress(ctx); err != nil {
		return err
	}
	if err := pause(ctx, after-time.Since(events.began)); err != nil {
		return err
	}
	events.stop()
	return s.review(ctx, a, master, earlier)
}

// review says what an act came to.
func (s *stage) review(ctx context.Context, a act, master *redistest.Node, earlier tally) error {
	found, err := s.crew.verify(ctx, master)
	if err != nil {
		return err
	}
	now := s.crew.tally()
	lost := found.missing - s.lost
	s.lost = found.missing
	if story, err := s.front.story(ctx); err == nil && story != "" {
		fmt.Fprintf(s.out, "   holdfast: %s\n", story)
	}
	fmt.Fprintf(s.out, "   clients:  %d commands answered, %d errors; longest wait %d ms\n",
		now.answered-earlier.answered, now.errors-earlier.errors, now.gap.Milliseconds())
	if now.errors > earlier.errors {
		fmt.Fprintf(s.out, "             such as: %s\n", s.crew.lastError())
	}
	fmt.Fprintf(s.out, "             %d of %d connections kept; the subscriber got %d messages\n",
		now.connections-now.cut, now.connections, now.messages-earlier.messages)
	fmt.Fprintf(s.out, "   writes:   %d acknowledged so far, looked up on the new master itself: %d missing, %d there twice\n",
		found.acknowledged, lost, found.twice)
	switch {
	case lost > 0 && !a.lossy:
		s.failure = errors.Join(s.failure, fmt.Errorf("a planned failover lost %d acknowledged writes", lost))
	case lost > 0:
		fmt.Fprintln(s.out, "             (acknowledged by the killed master before it had passed them on: replication is asynchronous)")
	}
	return nil
}

// curtain is the last word.
func (s *stage) curtain(ctx context.Context) error {
	if err := s.crew.callIdle(ctx); err != nil {
		s.failure = errors.Join(s.failure, err)
	}
	t := s.crew.tally()
	if t.cut > 0 {
		s.failure = errors.Join(s.failure, fmt.Errorf("%d of %d connections were cut", t.cut, t.connections))
	}
	if s.failure != nil {
		return s.failure
	}
	fmt.Fprintf(s.out, "\nTwo failovers, %d connections, none cut. The client that was idle all the time still answers to its name.\n", t.connections)
	return nil
}

// pause waits; a pause that is over already is none.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
