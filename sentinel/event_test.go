package sentinel

import (
	"testing"

	"holdfast/config"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		channel, payload string
		want             event
	}{
		{"+new-epoch", "17", event{epoch: 17}},
		{"+vote-for-leader", "aa11 17", event{}},
		{"+tilt", "#tilt mode entered", event{}},
		{"+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6380", event{name: "mymaster", about: "master", node: "10.0.0.2:6380"}},
		{"+switch-master", "mymaster db-1.example 6379 10.0.0.2 6380", event{name: "mymaster", about: "master", node: "10.0.0.2:6380"}},
		{"+odown", "master mymaster 10.0.0.1 6379 #quorum 2/2", event{name: "mymaster", about: "master", node: "10.0.0.1:6379"}},
		{"+elected-leader", "master mymaster 10.0.0.1 6379", event{name: "mymaster", about: "master", node: "10.0.0.1:6379"}},
		{"+selected-slave", "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379", event{name: "mymaster", about: "slave", node: "10.0.0.2:6379"}},
		{"+selected-slave", "slave [fd00::2]:6379 fd00::2 6379 @ mymaster fd00::1 6379", event{name: "mymaster", about: "slave", node: "[fd00::2]:6379"}},
		{"+sentinel", "sentinel aa11 10.0.1.1 26379 @ mymaster 10.0.0.1 6379", event{name: "mymaster", about: "sentinel", node: "10.0.1.1:26379"}},
		{"-role-change", "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379 new reported role is master", event{name: "mymaster", about: "slave", node: "10.0.0.2:6379"}},
		{"+promoted-slave", "slave db-2:6379 db-2 6379 @ mymaster db-1 6379", event{name: "mymaster", about: "slave"}}, // not resolved yet

		// What no Sentinel says.
		{"+switch-master", "mymaster", event{}},
		{"+switch-master", "", event{}},
		{"+new-epoch", "", event{}},
		{"+new-epoch", "-1", event{}},
		{"+selected-slave", "slave @ @ @ @", event{}},
		{"+selected-slave", "slave x 10.0.0.2 99999 @ mymaster x y", event{name: "mymaster", about: "slave"}},
		{"", "\x00\xff", event{}},
	} {
		c.want.kind = c.channel
		if got := parse(c.channel, c.payload, newBook(nil, nil).known); got != c.want {
			t.Errorf("%s %q: %+v, not %+v", c.channel, c.payload, got, c.want)
		}
	}
}

// TestEventStages: what fences and what does not.
func TestEventStages(t *testing.T) {
	for kind, want := range map[string]bool{
		"+elected-leader":                      true,
		"+failover-state-select-slave":         true,
		"+selected-slave":                      true,
		"+failover-state-send-slaveof-noone":   true,
		"+failover-state-wait-promotion":       true,
		"+failover-state-reconf-slaves":        false,
		"+failover-state-update-config":        false,
		"+failover-state-wait-start":           false,
		"+try-failover":                        false,
		"+vote-for-leader":                     false,
		"+promoted-slave":                      false,
		"+failover-end":                        false,
		"-failover-abort-no-good-slave":        false,
		"+failover-state-something-unheard-of": false,
	} {
		if got := decisive(event{kind: kind}.stage()); got != want {
			t.Errorf("%s fences: %v", kind, got)
		}
	}
}

// TestEarlyStages: what still can be waited for, and only with release: promoted.
func TestEarlyStages(t *testing.T) {
	for kind, want := range map[string]bool{
		"+elected-leader":                    true,
		"+failover-state-select-slave":       true,
		"+selected-slave":                    false,
		"+failover-state-send-slaveof-noone": false,
		"+failover-state-wait-promotion":     false,
	} {
		stage := event{kind: kind}.stage()
		if got := (rules{release: config.Promoted}).early(stage); got != want {
			t.Errorf("promoted: %s is early: %v", kind, got)
		}
		if (rules{release: config.Confirmed}).early(stage) {
			t.Errorf("confirmed: %s is early", kind)
		}
	}
}
