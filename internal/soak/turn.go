package soak

import (
	"errors"
	"fmt"
	"strings"
)

// turn is one command and what answers it.
type turn struct {
	say  string // the bytes of the request
	want string // the whole frame; or
	like func(frame string) bool
	data bool // the answer depends on what was stored before
	void bool // a fault may make it null: an EXEC whose WATCH is lost, a pop whose answer was
}

// name is the command as it stands in a history.
func (t turn) name() string { return cropped(strings.ReplaceAll(t.say, "\r\n", " ")) }

func says(want string, args ...string) turn { return turn{say: request(args...), want: want} }

// reads is a turn whose answer depends on what was stored.
func reads(want string, args ...string) turn {
	return turn{say: request(args...), want: want, data: true}
}

func begins(prefix string, args ...string) turn {
	return turn{say: request(args...), like: func(f string) bool { return strings.HasPrefix(f, prefix) }}
}

// say sends all turns at once and judges what comes. The error is errEnded or
// errWrong; after errEnded the client must not rely on anything it stored.
func (k *conn) say(turns ...turn) error {
	was := k.run.look()
	k.transmit(turns)
	for _, t := range turns {
		if err := k.judge(t, was); err != nil {
			return err
		}
	}
	return nil
}

// transmit writes without waiting for answers, and beside the reading when it is
// more than the sockets may take.
func (k *conn) transmit(turns []turn) {
	var b strings.Builder
	for _, t := range turns {
		b.WriteString(t.say)
		k.note("> %s", t.name())
	}
	if b.Len() <= 64<<10 {
		k.write(b.String())
		return
	}
	go k.write(b.String())
}

// write ends with the last byte or the connection; that it failed is seen in what
// comes back.
func (k *conn) write(s string) { _, _ = k.nc.Write([]byte(s)) }

// judge reads one reply and says whether it fits.
func (k *conn) judge(t turn, was calm) error {
	f, err := k.next()
	switch {
	case errors.Is(err, errEnded) && k.run.quiet(was):
		return k.wrong("ended instead of answering %s", t.name())
	case errors.Is(err, errEnded):
		k.run.cut.Add(1)
		k.astray = true
		return err
	case err != nil:
		return err
	}
	k.run.commands.Add(1)
	k.note("  < %q", cropped(f))
	if t.fits(f) {
		return nil
	}
	if k.run.quiet(was) {
		return k.wrong("%s: answered %q, not %q", t.name(), cropped(f), cropped(t.want))
	}
	switch {
	case strings.HasPrefix(f, "-UNCERTAIN "), strings.HasPrefix(f, "-MASTERDOWN "), strings.HasPrefix(f, "-EXECABORT "):
		k.run.unknown.Add(1)
		k.astray = true
		return nil
	case t.void && f == k.nullArray():
		k.astray = true
		return nil
	case t.data && (f[0] == t.want[0] || f == k.null() || f == k.nullArray()):
		// A read that was sent again sees what a later command of the same
		// pipeline has done, whose own answer is then unknown.
		k.puzzles = append(k.puzzles, fmt.Sprintf("%s: answered %q, not %q", t.name(), cropped(f), cropped(t.want)))
		return nil
	}
	return k.wrong("%s: answered %q, not %q (during a fault)", t.name(), cropped(f), cropped(t.want))
}

func (t turn) fits(f string) bool {
	if t.like != nil {
		return t.like(f)
	}
	return f == t.want
}
