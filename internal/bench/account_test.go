//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// own reads this process' CPU clock in the ordinary way.
func own(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func TestCPUTimeIsTheProcessClock(t *testing.T) {
	for range 100 {
		before := own(t)
		got, err := cpuTime(os.Getpid())
		after := own(t)
		if err != nil || got < before || got > after {
			t.Fatalf("cpuTime = %v, %v; the process' own clock went from %v to %v", got, err, before, after)
		}
	}
}

func TestCPUTimeOfAnotherProcess(t *testing.T) {
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read x")
	if _, err := cmd.StdinPipe(); err != nil { // it reads until it is killed
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	_, err = out.Read(make([]byte, 4))
	used, clockErr := cpuTime(pid)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil || clockErr != nil || used < time.Millisecond || used > time.Minute {
		t.Errorf("a loop of 20 000 turns used %v (%v, %v)", used, err, clockErr)
	}
	if used, err := cpuTime(pid); err == nil {
		t.Errorf("a process that has ended has used %v, want an error", used)
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  10 2 30 4000 500 6 7 8 90 91\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if want := (10 + 2 + 30 + 6 + 7 + 8) * 10 * time.Millisecond; err != nil || got != want {
		t.Errorf("parseBusy = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu 1 2 x 4 5 6 7 8 9\n"} {
		if got, err := parseBusy([]byte(bad)); err == nil {
			t.Errorf("parseBusy(%q) = %v, want an error", bad, got)
		}
	}
}

func TestBusyTimeOfThisMachine(t *testing.T) {
	if got, err := busyTime(); err != nil || got <= 0 {
		t.Errorf("busyTime = %v, %v", got, err)
	}
}

func TestForeignLoadIsWhatIsNotOurs(t *testing.T) {
	start := reading{at: time.Unix(100, 0), proxy: 5, redis: 7, generator: 9, others: 11, busy: 13}
	end := reading{
		at:    time.Unix(102, 0),
		proxy: 5 + 500*time.Millisecond, redis: 7 + 300*time.Millisecond, generator: 9 + 200*time.Millisecond,
		others: 11 + 100*time.Millisecond, busy: 13 + 2100*time.Millisecond,
	}
	u := end.since(start)
	if u.wall != 2*time.Second || u.proxy != 500*time.Millisecond || u.redis != 300*time.Millisecond || u.generator != 200*time.Millisecond {
		t.Errorf("usage = %+v", u)
	}
	if u.foreign != 0.5 {
		t.Errorf("foreign = %v cores, want 0.5", u.foreign)
	}
	end.busy = start.busy // ticks are coarse: ours may seem to be more than all
	if u := end.since(start); u.foreign != 0 {
		t.Errorf("foreign = %v cores, want 0", u.foreign)
	}
}

func TestMeterReadsEveryone(t *testing.T) {
	m := &meter{proxy: os.Getpid(), redis: os.Getpid(), others: []int{os.Getpid(), os.Getpid()}}
	r, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	if r.proxy <= 0 || r.redis < r.proxy || r.generator < r.redis || r.others < 2*r.proxy {
		t.Errorf("reading = %+v", r)
	}
	if r, err := (&meter{redis: os.Getpid()}).read(); err != nil || r.proxy != 0 {
		t.Errorf("without a proxy: %+v, %v", r, err)
	}
	if _, err := (&meter{redis: 1 << 22}).read(); err == nil {
		t.Error("a process that does not exist was read")
	}
}

func TestParseRollup(t *testing.T) {
	text := "5566-7788 ---p 00000000 00:00 0   [rollup]\nRss:    1234 kB\nPss:   12 kB\nAnonymous:     567 kB\nLocked: 0 kB\n"
	if f, err := parseRollup([]byte(text)); err != nil || f != (footprint{rss: 1234, anon: 567}) {
		t.Errorf("parseRollup = %+v, %v", f, err)
	}
	if _, err := parseRollup([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no Anonymous was accepted")
	}
}

func TestFootprintCountsDescriptorsAndMemory(t *testing.T) {
	before, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const files, size = 20, 8 << 20
	for range files {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(block)
	after, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.fds - before.fds; got != files {
		t.Errorf("%d more descriptors were counted, want %d", got, files)
	}
	if got := after.anon - before.anon; got < size>>10/2 || got > size>>10*2 {
		t.Errorf("memory grew by %d KiB, want about %d", got, size>>10)
	}
	if before.near(after) {
		t.Error("that is near")
	}
	if !before.near(before) {
		t.Error("a footprint is not near itself")
	}
}
