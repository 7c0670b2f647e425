package vip

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/config"
)

var update = flag.Bool("update", false, "rewrite the stories in testdata as they happen now")

// TestStories plays testdata/*.txt. A story is a machine, and what it is told; what
// it does stands indented below the line that led to it. Rewrite with -update, and
// read the diff.
//
// Time is in milliseconds from the beginning. The machine's own address is B; A is
// a smaller one, C a greater one.
//
//	set priority 200 | set version 3 | set advert_interval 100ms | set preempt false
//	set preempt_delay 5s | set prefer_local_master 50
//	T fit [local] | T unfit no master
//	T hears C 200 [interval 2s]
//	T link eth0 is down | T link      it is up
//	T appeared | T doubled | T lost   10.0.0.100
//	T slept 2.5s | T failed no room
//	T shutdown
//	T rest                            time passes
//	T stopped until U [hears C 200]   this process stands still, and what it does
//	      first is to look at the time, or what has come
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories:", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory(t).play(string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("it went otherwise; -update and read the diff:\n%s", got)
			}
		})
	}
}

// story is the world around one machine.
type story struct {
	t     *testing.T
	vip   config.VIP
	m     *machine // made with the first line that has a time
	start time.Time
	now   time.Time
	out   strings.Builder
}

func newStory(t *testing.T) *story {
	v := config.DefaultVIP()
	v.Name, v.Interface, v.RouterID = "redis", "eth0", 51
	v.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.100")}
	return &story{t: t, vip: v, start: time.Unix(1e9, 0), now: time.Unix(1e9, 0)}
}

func (s *story) play(text string) string {
	comment := "" // stands before the next command, and after what happens until then
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // what happened the last time
		}
		if line == "" || strings.HasPrefix(line, "#") {
			comment += line + "\n"
			continue
		}
		words := strings.Fields(line)
		if words[0] != "set" {
			ms, err := strconv.Atoi(words[0])
			if err != nil || len(words) < 2 {
				s.t.Fatalf("%q: %v", line, err)
			}
			if s.m == nil {
				s.m = newMachine(s.vip, address("B"), s.now)
			}
			s.until(s.start.Add(time.Duration(ms) * time.Millisecond))
		}
		fmt.Fprintf(&s.out, "%s%s\n", comment, line)
		comment = ""
		s.take(words)
	}
	return s.out.String() + comment
}

// address is that of A, B, C ...
func address(letter string) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, letter[0] - 'A' + 1})
}

// plain puts the letters back.
func plain(text string) string {
	for c := 'A'; c <= 'E'; c++ {
		text = strings.NewReplacer(address(string(c)).String()+" ", string(c)+" ", address(string(c)).String()+",", string(c)+",").Replace(text)
	}
	return text
}

// until lets time pass.
func (s *story) until(end time.Time) {
	for {
		due := s.m.next()
		if due.IsZero() || due.After(end) {
			break
		}
		if due.After(s.now) {
			s.now = due
		}
		s.tell(s.m.tick(s.now))
		if next := s.m.next(); !next.IsZero() && !next.After(s.now) {
			s.t.Fatalf("at %v it is due again at once", s.now.Sub(s.start))
		}
	}
	s.now = end
}

// take takes one line.
func (s *story) take(words []string) {
	if words[0] == "set" {
		s.set(words[1], words[2])
		return
	}
	rest := strings.Join(words[2:], " ")
	switch words[1] {
	case "fit":
		s.tell(s.m.fit(s.now, Fitness{Fit: true, LocalMaster: slices.Contains(words, "local")}))
	case "unfit":
		s.tell(s.m.fit(s.now, Fitness{Why: rest}))
	case "hears":
		a := advert{version: s.vip.Version, interval: s.m.own(), addresses: s.vip.Addresses}
		a.priority = s.number(words[3])
		if len(words) > 5 {
			a.interval = s.duration(words[5])
		}
		s.tell(s.m.hear(s.now, address(words[2]), a))
	case "link":
		s.tell(s.m.link(s.now, rest))
	case "appeared":
		s.tell(s.m.appeared(s.now, s.vip.Addresses[0]))
	case "doubled":
		s.tell(s.m.doubled(s.now, s.vip.Addresses[0]))
	case "lost":
		s.tell(s.m.lost(s.now, s.vip.Addresses[0]))
	case "slept":
		s.tell(s.m.slept(s.now, s.duration(words[2])))
	case "failed":
		s.tell(s.m.failed(s.now, errors.New(rest)))
	case "shutdown":
		s.tell(s.m.shutdown(s.now))
	case "stopped":
		s.now = s.start.Add(time.Duration(s.number(words[3])) * time.Millisecond)
		if len(words) > 4 {
			s.take(words[3:])
		} else {
			s.tell(s.m.tick(s.now))
		}
	case "rest":
	default:
		s.t.Fatalf("what is %q?", words)
	}
}

func (s *story) set(key, value string) {
	switch key {
	case "priority":
		s.vip.Priority = s.number(value)
	case "version":
		s.vip.Version = s.number(value)
	case "advert_interval":
		s.vip.AdvertInterval = config.Duration(s.duration(value))
	case "preempt":
		s.vip.Preempt = value == "true"
	case "preempt_delay":
		s.vip.PreemptDelay = config.Duration(s.duration(value))
	case "prefer_local_master":
		s.vip.PreferLocalMaster = s.number(value)
	default:
		s.t.Fatalf("set what? %q", key)
	}
}

func (s *story) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *story) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// tell writes down what is done, and holds it against what always holds.
func (s *story) tell(actions []action) {
	if len(actions) == 0 {
		return
	}
	words := make([]string, len(actions))
	for i, a := range actions {
		words[i] = a.String()
		if a.kind == send && a.advert.priority > 0 && s.m.state == Master && (i == 0 || actions[i-1].kind != refresh && actions[i-1].kind != take) {
			s.t.Errorf("at %v an owner advertises without a fresh lease", s.now.Sub(s.start))
		}
	}
	fmt.Fprintf(&s.out, "    %s %s\n", milliseconds(s.now.Sub(s.start)), plain(strings.Join(words, ", ")))
}

// milliseconds is d, exactly.
func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64)
}

func (a action) String() string {
	switch a.kind {
	case send:
		return fmt.Sprintf("send %d", a.advert.priority)
	case enter:
		return fmt.Sprintf("%s (%s)", a.state, a.why)
	case alarm:
		return fmt.Sprintf("alarm (%s)", a.why)
	}
	return [...]string{take: "take", refresh: "refresh", announce: "announce", leave: "leave", drop: "drop", clean: "clean"}[a.kind]
}
