//go:build linux

package main

import (
	"strings"
	"testing"
)

// elsewhere is a virtual address on an interface that this machine has not.
const elsewhere = good + "vip: [{name: redis, interface: nowhere7, addresses: [192.0.2.100], router_id: 51}]\n"

const noInterface = "vip redis: interface nowhere7 does not exist; there are lo"

// A configuration may be checked on another machine than it is for, so that what
// this one lacks is a warning.
func TestCheckLooksAtTheMachine(t *testing.T) {
	code, out, errOut := call(t, "check", "-c", write(t, elsewhere))
	if code != fine || !strings.Contains(out, "is fine") || !strings.Contains(errOut, "holdfast: on this machine and for this user, "+noInterface) {
		t.Errorf("%d\n%s\n%s", code, out, errOut)
	}
}

// A node that cannot own what it is to own does not start.
func TestRunNeedsTheInterface(t *testing.T) {
	code, _, errOut := call(t, "run", "-c", write(t, elsewhere))
	if code != failed || !strings.Contains(errOut, "cannot own virtual addresses: "+noInterface) {
		t.Errorf("%d\n%s", code, errOut)
	}
}
