//go:build linux

package vip

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"holdfast/config"
	"holdfast/internal/lan"
)

// A command that hangs is killed with what it started, and of the states that
// come meanwhile only the last is told.
func TestNotifierBounds(t *testing.T) {
	dir := t.TempDir()
	log := &bytes.Buffer{}
	v := config.VIP{
		NotifyMaster: config.Command{"sh", "-c", "touch " + filepath.Join(dir, "begun") + "; sleep 60 & wait"},
		NotifyBackup: config.Command{"touch", filepath.Join(dir, "backup")},
		NotifyFault:  config.Command{"touch", filepath.Join(dir, "fault")},
	}
	n := newNotifier(v, zerolog.New(zerolog.SyncWriter(log))) // run and tell both log
	n.most = 500 * time.Millisecond
	go n.run()
	n.tell(notice{state: stateMaster})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !exists(dir, "begun"); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the command has not begun")
		}
	}
	n.tell(notice{state: stateBackup})
	n.tell(notice{state: stateFault})
	n.close()
	if exists(dir, "backup") || !exists(dir, "fault") {
		t.Error("the last state is to be told, and not the one before")
	}
	if !strings.Contains(log.String(), "killed after 500ms") {
		t.Errorf("the log has %s", log)
	}
}

// Whatever a server said that led to a state, the command runs, and is told of it.
func TestNotifierTellsAnyReason(t *testing.T) {
	log := &bytes.Buffer{}
	n := newNotifier(config.VIP{NotifyFault: config.Command{"sh", "-c", `echo "told: $HOLDFAST_VIP_WHY"`}}, zerolog.New(log))
	go n.run()
	n.tell(notice{state: stateFault, why: "it said: ERR\x00no\r\n\xff" + strings.Repeat("!", 1<<20)})
	n.close()
	if !strings.Contains(log.String(), `"said":"told: it said: ERR no  !!!!`) {
		t.Errorf("the log has %s", log)
	}
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// A command whose file takes long to open, which a lease on the file stands for,
// does not stop this process meanwhile: its garbage is collected.
func TestNotifierSlowToStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "command")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho told: $HOLDFAST_VIP_STATE\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	opened := make(chan os.Signal, 1)
	signal.Notify(opened, syscall.SIGIO)
	defer signal.Stop(opened)
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		lan.Missing(t, "no lease on a file: "+err.Error())
	}
	log := &bytes.Buffer{}
	n := newNotifier(config.VIP{NotifyMaster: config.Command{path}}, zerolog.New(log))
	go n.run()
	n.tell(notice{state: stateMaster})
	<-opened
	begun := time.Now()
	runtime.GC()
	if took := time.Since(begun); took > n.most/2 {
		t.Errorf("the process stood still for %v", took)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Error(err)
	}
	n.close()
	if !strings.Contains(log.String(), `"said":"told: MASTER"`) {
		t.Errorf("the log has %s", log)
	}
}

// What cannot be run is said.
func TestNotifierCannotRun(t *testing.T) {
	log := &bytes.Buffer{}
	n := newNotifier(config.VIP{NotifyMaster: config.Command{"/nowhere/told", "m"}}, zerolog.New(log))
	go n.run()
	n.tell(notice{state: stateMaster})
	n.close()
	for _, want := range []string{`"error":"exit status 127"`, `/nowhere/told: `, "no such file"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s: %s", want, log)
		}
	}
}
