package chaos

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/health"
	"holdfast/proxy"
)

const second = time.Second

func newVerdict() *Verdict {
	return &Verdict{Errors: map[string]int{}, State: map[string]int{}, noted: map[string]int{}}
}

// at is a write with this outcome, sent so many seconds after the beginning.
func at(id string, sent time.Duration, o outcome) write {
	return write{id: id, sent: sent * second, done: sent*second + second/100, outcome: o}
}

func TestSeries(t *testing.T) {
	promoted := &timeline{promotions: []time.Duration{10 * second}, end: 30 * second}
	for _, tt := range []struct {
		name   string
		series series
		place  place
		want   Verdict // its counts
	}{
		{"all there", series{writes: []write{at("a", 1, acked), at("b", 2, acked)}}, place{left: []string{"a", "b"}}, Verdict{Acked: 2}},
		{"lag", series{writes: []write{at("a", 9, acked)}}, place{}, Verdict{Acked: 1, LostLag: 1}},
		{"old master", series{writes: []write{at("a", 11, acked)}}, place{}, Verdict{Acked: 1, LostStale: 1}},
		{"twice", series{writes: []write{at("a", 1, acked)}}, place{left: []string{"a", "a"}}, Verdict{Acked: 1, Twice: 1}},
		{"denied", series{writes: []write{at("a", 1, refused)}}, place{left: []string{"a"}}, Verdict{Denied: 1}},
		{"refused", series{writes: []write{at("a", 1, refused)}}, place{}, Verdict{}},
		{"unknown and applied", series{writes: []write{at("a", 1, unknown)}}, place{left: []string{"a"}}, Verdict{}},
		{"unknown and not applied", series{writes: []write{at("a", 1, unknown)}}, place{}, Verdict{}},
		{"unknown and twice", series{writes: []write{at("a", 1, unknown)}}, place{left: []string{"a", "a"}}, Verdict{Twice: 1}},
		{"stranger", series{}, place{left: []string{"z"}}, Verdict{Wrong: 1}},
		{"order", series{writes: []write{at("a", 1, acked), at("b", 2, acked)}}, place{left: []string{"b", "a"}}, Verdict{Acked: 2, Disorder: 1}},
		{"astray", series{db: "3", writes: []write{at("a", 11, acked)}}, place{astray: []string{"a"}}, Verdict{Acked: 1, State: map[string]int{"db": 1}}},
		{"popped", series{queue: true, writes: []write{at("a", 1, acked)}},
			place{taken: []take{{id: "a", sent: 0, done: 1 * second}}}, Verdict{Acked: 1}},
		{"popped twice", series{queue: true, writes: []write{at("a", 1, acked)}},
			place{taken: []take{{id: "a", done: 1 * second}, {id: "a", sent: 2 * second, done: 3 * second}}}, Verdict{Acked: 1, Twice: 1}},
		{"pop lost", series{queue: true, writes: []write{at("a", 8, acked)}},
			place{taken: []take{{id: "a", sent: 8 * second, done: 9 * second}, {id: "a", sent: 11 * second, done: 12 * second}}}, Verdict{Acked: 1, LostLag: 1}},
		{"popped and still there", series{queue: true, writes: []write{at("a", 11, acked)}},
			place{taken: []take{{id: "a", sent: 11 * second, done: 12 * second}}, left: []string{"a"}}, Verdict{Acked: 1, Twice: 1}},
		{"popped in disorder", series{queue: true, writes: []write{at("a", 1, acked), at("b", 2, acked)}},
			place{taken: []take{{id: "b"}, {id: "a"}}}, Verdict{Acked: 2, Disorder: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVerdict()
			v.series("x", &tt.series, tt.place, promoted)
			if v.Acked != tt.want.Acked {
				t.Errorf("%d acknowledged writes, want %d", v.Acked, tt.want.Acked)
			}
			for _, c := range Columns {
				if got, want := c.count(v), c.count(&tt.want); got != want {
					t.Errorf("%s = %d, want %d", c.Name, got, want)
				}
			}
		})
	}
}

// TestApart: on the wrong side of a partition it is the fence that divides, not the
// promotion, and what was sent after it is lost as ever.
func TestApart(t *testing.T) {
	apart, before := fault(t, "f8"), fault(t, "f5n")
	split := &timeline{promotions: []time.Duration{10 * second}, fence: 12 * second, end: 30 * second}
	s := series{writes: []write{at("a", 9, acked), at("b", 11, acked), at("c", 13, acked), at("d", 14, acked)}}
	v := newVerdict()
	v.series("x", &s, place{left: []string{"d"}}, split)
	if v.LostApart != 2 || v.LostStale != 1 || v.LostLag != 0 {
		t.Errorf("%d sent before the fence, %d after, %d lag", v.LostApart, v.LostStale, v.LostLag)
	}
	if got := v.Failed(apart, "confirmed"); !slices.Equal(got, []string{"lost"}) {
		t.Errorf("%q", got)
	}
	v.LostStale = 0
	if got := v.Failed(apart, "confirmed"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := v.Failed(before, "confirmed"); !slices.Equal(got, []string{"apart"}) {
		t.Errorf("another fault: %q", got)
	}
}

// TestNoteFence: the first after the fault began counts, and no other.
func TestNoteFence(t *testing.T) {
	began := time.Now()
	front := &Front{Status: func(context.Context) (*health.Status, error) {
		st := &health.Status{Masters: []health.Master{{}}}
		for _, s := range []time.Duration{1, 3, 4} {
			st.Masters[0].Failovers = append(st.Masters[0].Failovers, health.Failover{Clients: &proxy.Carried{At: began.Add(s * second)}}, health.Failover{})
		}
		return st, nil
	}}
	cut := &timeline{events: []Event{{2 * second, "cut"}}}
	if err := cut.noteFence(t.Context(), front, began); err != nil || cut.fence != 3*second+fencing {
		t.Errorf("%v, %v", cut.fence, err)
	}
	deaf := &timeline{events: []Event{{5 * second, "cut"}}}
	if err := deaf.noteFence(t.Context(), front, began); err != nil || deaf.fence != 0 {
		t.Errorf("%v, %v", deaf.fence, err)
	}
	front.Status = func(context.Context) (*health.Status, error) { return nil, errors.New("gone") }
	if cut.noteFence(t.Context(), front, began) == nil {
		t.Error("an endpoint that cannot be asked has no verdict")
	}
}

func TestStale(t *testing.T) {
	two := &timeline{promotions: []time.Duration{10 * second, 20 * second}}
	for _, tt := range []struct {
		sent, done time.Duration
		want       bool
	}{
		{9 * second, 9 * second, false},
		{9 * second, 11 * second, false}, // the old master of the day took it
		{10 * second, 10 * second, true},
		{15 * second, 15 * second, true},
		{19900 * time.Millisecond, 19950 * time.Millisecond, false}, // just before the second
		{21 * second, 21 * second, true},
	} {
		if got := two.stale(tt.sent, tt.done); got != tt.want {
			t.Errorf("sent %s, done %s: stale = %v", tt.sent, tt.done, got)
		}
	}
}

// TestHearing sends a message every second and looks at those that were not
// delivered.
func TestHearing(t *testing.T) {
	for _, tt := range []struct {
		name        string
		delivered   string // one letter per message: x delivered, - not, u not and not acknowledged
		disruptions []time.Duration
		want        heard
	}{
		{"all", "xxxxxxxxxx", nil, heard{}},
		{"one in the midst", "xx-xxxxxxx", nil, heard{missed: []int{3}}},
		{"one that was not acknowledged", "xxuxxxxxxx", nil, heard{}},
		{"before the subscription", "--xxxxxxxx", nil, heard{gap: 2}},
		{"until the subscription is back", "xxx--xxxxx", []time.Duration{2500 * time.Millisecond}, heard{gap: 2}},
		{"after it is back", "xxx--x-xxx", []time.Duration{2500 * time.Millisecond}, heard{gap: 2, missed: []int{7}}},
		{"just before a disruption", "xx-xxxxxxx", []time.Duration{2050 * time.Millisecond}, heard{gap: 1}},
		{"for good", "xxx---------", []time.Duration{2500 * time.Millisecond}, heard{gap: 5, missed: []int{9, 10, 11, 12}, silent: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hearing{disruptions: tt.disruptions}
			for i, letter := range tt.delivered {
				m := message{seq: i + 1, sent: time.Duration(i) * second, done: time.Duration(i) * second, outcome: acked}
				if letter == 'u' {
					m.outcome = unknown
				}
				h.sent = append(h.sent, m)
				if letter == 'x' {
					h.got = append(h.got, arrival{m.seq, m.sent})
				}
			}
			r := h.judge()
			if !slices.Equal(r.missed, tt.want.missed) || r.gap != tt.want.gap || r.silent != tt.want.silent {
				t.Errorf("got %+v, want %+v", r, tt.want)
			}
		})
	}
	r := hearing{got: []arrival{{1, 0}, {3, 0}, {2, 0}, {2, 0}}}.judge()
	if r.twice != 1 || r.disorder != 1 {
		t.Errorf("1 3 2 2: %d twice, %d in disorder", r.twice, r.disorder)
	}
}

func TestLongest(t *testing.T) {
	for _, tt := range []struct {
		at   []time.Duration
		want time.Duration
	}{
		{nil, 10 * second},
		{[]time.Duration{2 * second}, 8 * second},
		{[]time.Duration{9 * second, 1 * second, 4 * second}, 5 * second},
		{[]time.Duration{4 * second, 12 * second}, 6 * second}, // answered after the end
	} {
		if got := longest(tt.at, 0, 10*second); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.at, got, tt.want)
		}
	}
}

func TestConflicts(t *testing.T) {
	for _, tt := range []struct {
		count  int
		logged []int
		want   int
	}{
		{0, nil, 0},
		{3, []int{2, 1, 3}, 0},
		{3, []int{1, 2, 2, 3}, 1}, // a lost update
		{3, []int{1, 2}, 1},       // a torn transaction
		{2, []int{1, 2, 3}, 1},
		{2, []int{2, 3}, 1},
	} {
		if got := conflicts("k", tt.count, tt.logged); len(got) != tt.want {
			t.Errorf("counter %d, logged %v: %q", tt.count, tt.logged, got)
		}
	}
}

func TestReadReply(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"+OK\r\n", "+OK"},
		{"-ERR no\r\n", "-ERR no"},
		{":12\r\n", ":12"},
		{"$3\r\na\rb\r\n", `"a\rb"`},
		{"$0\r\n\r\n", `""`},
		{"$-1\r\n", "null"},
		{"*-1\r\n", "null"},
		{"_\r\n", "null"},
		{"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", `*["a" *[:1]]`},
		{">2\r\n+invalidate\r\n_\r\n", ">[+invalidate null]"},
		{"%1\r\n+a\r\n:1\r\n", "%[+a :1]"},
		{"|1\r\n+ttl\r\n:1\r\n+OK\r\n", "+OK"},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)))
		if err != nil || got.String() != tt.want {
			t.Errorf("%q: %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "+OK", "+OK\n", "?\r\n", "$x\r\n", "$9999999999\r\n", "*-2\r\n", "$1\r\nabc\r\n", "*1\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(in))); err == nil {
			t.Errorf("%q: read as %s", in, got)
		}
	}
}

func TestErrorsByText(t *testing.T) {
	e := evidence{errors: map[string]int{}}
	for _, text := range []string{"READONLY You can't", "READONLY", "ERR no such key", "UNCERTAIN it may"} {
		e.fault(text)
	}
	for range 2 * errorKinds {
		e.fault("ERR " + strings.Repeat("x", len(e.errors)))
	}
	if e.errors["READONLY"] != 2 || e.errors["ERR no such key"] != 1 || e.errors[uncertain] != 1 {
		t.Errorf("got %v", e.errors)
	}
	if len(e.errors) > errorKinds+1 {
		t.Errorf("%d kinds of errors are kept", len(e.errors))
	}
}

func TestExcuses(t *testing.T) {
	bad := newVerdict()
	bad.LostStale, bad.LostLag, bad.Uncertain, bad.Cut = 1, 1, 1, 1
	for _, tt := range []struct {
		fault, release string
		want           []string
	}{
		{"f1", "promoted", []string{"cut", "uncertain", "lost", "lag"}},
		{"f2", "confirmed", []string{"cut", "lost"}},
		{"f10", "confirmed", []string{"cut", "uncertain", "lost", "lag"}},
		{"f10", "promoted", []string{"cut"}},
	} {
		if got := bad.Failed(fault(t, tt.fault), tt.release); !slices.Equal(got, tt.want) {
			t.Errorf("%s with %s: %q, want %q", tt.fault, tt.release, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	good, bad := newVerdict(), newVerdict()
	good.KeptGap, bad.KeptGap = second, 3*second
	bad.LostStale, bad.LostLag = 7, 8
	bad.Errors["READONLY"] = 9
	results := []Result{
		{Fault: fault(t, "f1"), Verdicts: []*Verdict{good}},
		{Fault: fault(t, "f2"), Verdicts: []*Verdict{good, bad, good}},
		{Fault: fault(t, "f3"), Failures: []error{errors.New("no cluster")}},
	}
	for i, want := range []bool{true, false, false} {
		if results[i].OK() != want {
			t.Errorf("%s: OK = %v", results[i].Fault.Name, !want)
		}
	}
	var b strings.Builder
	if err := Table(&b, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1000  ", "3000", "7!", "8~", "9!", "9 times READONLY", "no verdict: no cluster", "master killed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, b.String())
		}
	}
}

// TestGoal: the time in which the new master cannot be reached comes on top.
func TestGoal(t *testing.T) {
	reached := newVerdict()
	away := newVerdict()
	away.Outage = 4 * second
	for _, tt := range []struct {
		fault, release string
		verdict        *Verdict
		want           string
	}{
		{"f1", "promoted", reached, "100"},
		{"f1", "confirmed", reached, "1300"},
		{"switchover", "promoted", reached, "250"},
		{"switchover", "confirmed", reached, "-"},
		{"f6", "promoted", reached, "-"},
		{"f9", "confirmed", away, "4200"},
	} {
		r := Result{Fault: fault(t, tt.fault), Setting: Setting{Release: tt.release}, Verdicts: []*Verdict{tt.verdict}}
		if got := r.goal(); got != tt.want {
			t.Errorf("%s with %s: %s, want %s", tt.fault, tt.release, got, tt.want)
		}
	}
}

func TestResumed(t *testing.T) {
	line := &timeline{promotions: []time.Duration{10 * second, 20 * second}, healed: 13 * second}
	kept := []time.Duration{9 * second, 11 * second, 19 * second, 22 * second}
	if got := resumed(kept, line); got != 2*second {
		t.Errorf("%v", got)
	}
	if got := resumed(nil, line); got != 0 {
		t.Errorf("%v, although no write was kept", got)
	}
	if got := line.outage(); got != 3*second {
		t.Errorf("an outage of %v", got)
	}
}
