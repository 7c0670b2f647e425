package sentinel

import (
	"context"
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

// TestStories plays testdata/*.txt. A story is a machine among Sentinels and
// nodes whose words and moments are written down; what it does stands indented
// below the line that led to it. Rewrite with -update, and read the diff.
//
// Time is in milliseconds from the beginning. Every Sentinel is polled once a
// second and when the machine wants it, every node is asked for its role when the
// machine wants it; an answer takes a millisecond. A to F are nodes.
//
//	set release promoted|confirmed | set fence_timeout 5s | set require_quorum
//	set demote_old_master
//	host db1 A                  a host name and what it resolves to
//	T watch s1 s2 s3            the Sentinels of the group
//	T s1 s2 names A epoch 1 ... and so they answer from now on; further words:
//	      down, tilt, quorum 2, stage S (failover-state), replicas B C (that follow
//	      A), still D (a replica, but says master), selected B (to be promoted),
//	      peer s2 (another Sentinel)
//	T s1 unaware | T s1 gone    knows no such master | every poll fails
//	T A says master|replica|loading|locked|mute [run r1] [keys 5] [offset 7]
//	      [replicas 2 [late 1]]
//	T A refuses | T A hangs
//	T s1 event +selected-slave B
//	T doubt                     the data path has evidence against the View
//	T order until U | T order over   an operator's fence
//	T rest                      time passes
//	T stopped until U           this process stands still
//	T history                   tells the failovers so far
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

const latency = time.Millisecond

// story is the world around one machine.
type story struct {
	t         *testing.T
	rules     rules
	m         *machine // made with the first line that has a time
	start     time.Time
	now       time.Time
	out       strings.Builder
	sentinels []*actor
	nodes     map[string]proof // by address: what they say; verdict unasked: nothing yet
	hosts     map[string]netip.Addr
	book      *book
	asking    *proof   // the probe under way
	telling   *demoted // the demotion under way, and when it is done
	toldAt    time.Time
	probed    string // whom the last one asked
	seq       uint64 // of the View last told
	told      map[string]bool
}

// actor is a Sentinel.
type actor struct {
	member
	report report // what it answers, zero before it is told
	gone   bool
	next   time.Time // when it is polled
}

func newStory(t *testing.T) *story {
	s := &story{
		t: t, start: time.Unix(1e9, 0), now: time.Unix(1e9, 0),
		rules: rules{
			release: config.Confirmed, fenceTimeout: 5 * time.Second,
			pollInterval: time.Second, timeout: time.Second,
		},
		nodes: make(map[string]proof), hosts: make(map[string]netip.Addr), told: make(map[string]bool),
	}
	s.book = newBook(nil, func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{s.hosts[host]}, nil
	})
	return s
}

// node is the address of A, B, ... or of a host name.
func (s *story) node(word string) string {
	if len(word) == 1 {
		return fmt.Sprintf("10.0.0.%d:6379", word[0]-'A'+1)
	}
	return s.book.known(word, "6379")
}

// plain puts the letters back.
func (s *story) plain(text string) string {
	for c := 'A'; c <= 'F'; c++ {
		text = strings.ReplaceAll(text, s.node(string(c)), string(c))
	}
	return text
}

func (s *story) play(text string) string {
	comment := "" // stands before the next command, and after what happens until then
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue // what happened the last time
		}
		if line == "" || strings.HasPrefix(line, "#") {
			comment += line + "\n"
			continue
		}
		words := strings.Fields(line)
		ms, err := strconv.Atoi(words[0])
		if err == nil {
			if s.m == nil {
				s.m = newMachine("mymaster", s.rules, s.now)
				s.seq = s.m.view.Seq
			}
			s.until(s.start.Add(time.Duration(ms) * time.Millisecond))
			words = words[1:]
		}
		fmt.Fprintf(&s.out, "%s%s\n", comment, line)
		comment = ""
		s.do(words)
		if s.m != nil {
			s.settle()
		}
	}
	return s.out.String() + comment
}

// do takes one command.
func (s *story) do(words []string) {
	switch {
	case words[0] == "set":
		s.set(words[1:])
	case words[0] == "host":
		s.hosts[words[1]] = netip.MustParseAddrPort(s.node(words[2])).Addr()
		if _, err := s.book.resolve(context.Background(), words[1], "6379"); err != nil {
			s.t.Fatal(err)
		}
	case words[0] == "watch":
		var members []member
		for _, id := range words[1:] {
			if s.sentinel(id) == nil {
				s.sentinels = append(s.sentinels, &actor{member: member{addr: id}})
			}
			members = append(members, member{addr: id})
		}
		s.m.enlist(s.now, members)
	case words[0] == "doubt":
		s.m.doubt(s.now, s.m.view.Seq)
	case words[0] == "order":
		o := order{}
		if words[1] != "over" {
			ms, _ := strconv.Atoi(words[2])
			o = order{addr: s.m.addr, ends: s.start.Add(time.Duration(ms) * time.Millisecond)}
		}
		s.m.obey(s.now, o)
	case words[0] == "history":
		s.history()
	case words[0] == "rest":
	case words[0] == "stopped": // this process, until ...
		ms, _ := strconv.Atoi(words[2])
		s.now, s.asking = s.start.Add(time.Duration(ms)*time.Millisecond), nil
		for _, a := range s.sentinels {
			a.next = s.now.Add(2 * latency)
		}
		s.m.tick(s.now)
	case words[0][0] == 's':
		s.tell(words)
	default:
		s.nodes[s.node(words[0])] = s.says(words[1:])
	}
}

func (s *story) set(words []string) {
	switch words[0] {
	case "release":
		s.rules.release = config.Release(words[1])
	case "fence_timeout":
		s.rules.fenceTimeout, _ = time.ParseDuration(words[1])
	case "demote_old_master":
		s.rules.demote = true
	case "require_quorum":
		s.rules.requireQuorum = true
	default:
		s.t.Fatalf("set what? %q", words)
	}
}

func (s *story) sentinel(id string) *actor {
	for _, a := range s.sentinels {
		if a.addr == id {
			return a
		}
	}
	return nil
}

// tell changes what Sentinels say, or lets one publish an event.
func (s *story) tell(words []string) {
	verb := slices.IndexFunc(words, func(w string) bool { return s.sentinel(w) == nil })
	if verb < 0 {
		s.t.Fatalf("what of %q?", words)
	}
	for _, id := range words[:verb] {
		a := s.sentinel(id)
		switch words[verb] {
		case "gone":
			a.gone = true
		case "unaware":
			a.gone, a.report = false, report{unknown: true}
		case "event":
			s.m.hear(s.now, s.event(id, words[verb+1:]))
			continue
		case "names":
			a.gone, a.report = false, s.answer(words[verb+1:])
		default:
			s.t.Fatalf("a Sentinel does not know how to %q", words[verb])
		}
		if a.next.IsZero() {
			a.next = s.now
		}
	}
}

// until lets time pass and everything happen that is due on the way.
func (s *story) until(end time.Time) {
	for {
		due := end
		sooner := func(t time.Time) {
			if !t.IsZero() && t.Before(due) {
				due = t
			}
		}
		sooner(s.m.next())
		for _, a := range s.sentinels {
			sooner(a.next)
		}
		if s.telling != nil {
			sooner(s.toldAt)
		} else if d, at := s.m.demotion(); d.old != "" {
			sooner(at)
		}
		if s.asking != nil {
			sooner(s.asking.heard)
		} else if addr, at := s.m.probe(); addr != "" {
			sooner(at)
		}
		if due.After(s.now) {
			s.now = due
		}
		s.happen()
		s.settle()
		if !due.Before(end) {
			return
		}
	}
}

// happen is everything that is due now.
func (s *story) happen() {
	s.m.tick(s.now)
	for _, a := range s.sentinels {
		if a.next.IsZero() || a.next.After(s.now) {
			continue
		}
		a.next = s.now.Add(s.rules.pollInterval)
		if a.gone {
			s.m.miss(s.now, a.addr, s.now.Add(-latency))
			s.settle()
			continue
		}
		r := a.report
		r.via, r.id, r.asked, r.heard = a.addr, a.addr, s.now.Add(-latency), s.now
		s.m.report(s.now, r)
		s.settle()
	}
	if s.telling != nil && !s.toldAt.After(s.now) {
		out := *s.telling
		s.telling = nil
		s.m.told(s.now, out)
	}
	if s.asking != nil && !s.asking.heard.After(s.now) {
		p := *s.asking
		s.asking = nil
		s.m.prove(s.now, p)
	}
}

// settle does what the machine wants and tells what came of it.
func (s *story) settle() {
	if s.m.poll() {
		for _, a := range s.sentinels {
			if !a.next.IsZero() && a.next.After(s.now.Add(2*latency)) {
				a.next = s.now.Add(2 * latency)
			}
		}
	}
	addr, at := s.m.probe()
	if s.asking != nil && s.asking.addr != addr {
		s.asking = nil // called off
	}
	if addr != "" && s.asking == nil && !at.After(s.now) {
		s.ask(addr)
	}
	if d, at := s.m.demotion(); d.old != "" && s.telling == nil && !at.After(s.now) {
		s.demote(d)
	}
	if v := s.m.view; v.Seq != s.seq {
		s.seq = v.Seq
		s.line("%s %s epoch %d: %s", v.State, v.Master, v.Epoch, v.Reason)
	}
	for _, n := range s.m.notes {
		if !s.told[n.text] {
			s.told[n.text] = true
			s.line("(%s)", n.text)
		}
	}
	s.m.notes = nil
}

// demote tells an old master what it is.
func (s *story) demote(d demotion) {
	out := demoted{demotion: d}
	switch p := s.nodes[d.old]; p.verdict {
	case isMaster:
		out.told = true
		p.verdict, p.why = isReplica, "says replica"
		s.nodes[d.old] = p
	case isReplica:
	default:
		out.err = errors.New(p.why)
	}
	s.telling, s.toldAt = &out, s.now.Add(latency)
	s.line("tells %s to be a replica of %s", d.old, d.of)
}

// ask starts a probe.
func (s *story) ask(addr string) {
	p := s.nodes[addr]
	if p.verdict == unasked {
		p.verdict, p.why = isGone, "connection refused"
	}
	p.addr, p.asked, p.heard = addr, s.now, s.now.Add(latency)
	p.why = addr + " " + p.why
	if p.verdict == isSilent {
		p.heard = s.now.Add(s.rules.timeout)
	}
	s.asking = &p
	if s.probed != addr {
		s.probed = addr
		s.line("asks %s for its role", addr)
	}
}

func (s *story) line(format string, args ...any) {
	fmt.Fprintf(&s.out, "    %d %s\n", s.now.Sub(s.start).Milliseconds(), s.plain(fmt.Sprintf(format, args...)))
}

func (s *story) history() {
	for _, f := range s.m.history {
		since := func(t time.Time) string {
			if t.IsZero() {
				return "-"
			}
			return strconv.FormatInt(t.Sub(f.Began).Milliseconds(), 10)
		}
		fmt.Fprintf(&s.out, "    %s to %s epoch %d: doubted %s fenced %s selected %s promoted %s switched %s served %s\n",
			s.plain(f.From), s.plain(f.To), f.Epoch, since(f.Doubted), since(f.Fenced), since(f.Selected),
			since(f.Promoted), since(f.Switched), since(f.Served))
	}
}
