package proxy

import (
	"fmt"
	"sync"
	"testing"

	"holdfast/config"
	"holdfast/internal/redistest"
)

// unmixed fails if a session travels on a shared upstream that is not of its
// user, database and protocol, and counts the trunks.
func (w *world) unmixed() (trunks int) {
	w.t.Helper()
	for _, l := range w.p.loops {
		w.onLoop(l, func(l *loop) {
			trunks += len(l.sites[0].trunks)
			members := map[*upstream]int{}
			for _, slot := range l.slots {
				s := slot.s
				if s == nil || s.up == nil || s.up.share == nil {
					continue
				}
				members[s.up]++
				if k := keyOf(s); s.up.share.trunk.key != k {
					w.t.Errorf("a session of %+v travels with those of %+v", k, s.up.share.trunk.key)
				}
			}
			for k, t := range l.sites[0].trunks {
				if t.key != k || len(t.ups) > mostShared {
					w.t.Errorf("the trunk of %+v is under %+v, with %d upstreams", t.key, k, len(t.ups))
				}
				for _, u := range t.ups {
					if u.share.members != members[u] {
						w.t.Errorf("an upstream counts %d members and has %d", u.share.members, members[u])
					}
				}
			}
		})
	}
	return trunks
}

// TestKeysAreNotMixed: clients of different users, databases and protocols, each
// with its own answers.
func TestKeysAreNotMixed(t *testing.T) {
	onlyShared(t)
	node := realRedis(t)
	for i := range 3 {
		w := fmt.Sprint("user", i)
		if _, err := node.Do(t.Context(), "ACL", "SETUSER", w, "on", ">secret", "~"+w+":*", "+@all"); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, node.Addr)
	var all sync.WaitGroup
	for i := range 36 {
		c := w.dial()
		all.Go(func() {
			user, db, proto := fmt.Sprint("user", i%3), fmt.Sprint(i/3%4), i/12%2+2
			c.send(lines("AUTH "+user+" secret", "SELECT "+db, fmt.Sprint("HELLO ", proto)))
			c.expect(ok, ok)
			c.read()
			null := "$-1\r\n"
			if proto == 3 {
				null = "_\r\n"
			}
			for n := range 50 {
				key, value := fmt.Sprintf("%s:%d", user, i), fmt.Sprint(db, "-", n)
				c.send(lines("SET "+key+" "+value, "GET "+key, "GET "+user+":none", "ACL WHOAMI"))
				c.expect(ok, bulk(value), null, bulk(user))
				c.wantPrefix("-NOPERM ", "GET", "nobodys")
			}
		})
	}
	all.Wait()
	if n := w.unmixed(); n != 24 {
		t.Errorf("%d keys for 3 users, 4 databases and 2 protocols", n)
	}
	if st := w.p.Stats(); st.Shared > 24+8 {
		t.Errorf("%d shared upstreams", st.Shared)
	}
}

// TestDatabasesThatAreKnownAndThatAreNot: the first SELECT of a database is
// Redis' to answer, the others cost no round trip.
func TestDatabasesThatAreKnownAndThatAreNot(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	c, d, e := w.dial(), w.dial(), w.dial()
	c.want(ok, "SELECT", "7")
	c.want(ok, "SET", "k", "v")
	selected := a.Count("SELECT")
	d.want(ok, "SELECT", "7")
	d.want(bulk("v"), "GET", "k")
	if got := a.Count("SELECT"); got != selected {
		t.Errorf("%d SELECTs for a database that is known", got-selected)
	}
	if pins := w.pins(); pins["login"] != 1 {
		t.Errorf("pins: %v", pins)
	}
	a.Handle("SELECT", redistest.Error("ERR DB index is out of range"))
	e.want("-ERR DB index is out of range\r\n", "SELECT", "8")
	e.want(ok, "SELECT", "7")
	e.want(bulk("v"), "GET", "k")
	w.unmixed()
}

// TestSelectInAPipelineKeepsTheOrder: each command runs on the database of its
// place, whichever upstream that takes.
func TestSelectInAPipelineKeepsTheOrder(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	for round := range 3 {
		c := w.dial()
		var say, want []string
		for i := range 60 {
			db := i % 4
			say = append(say, fmt.Sprint("SELECT ", db), fmt.Sprintf("SET k%d %d-%d", db, round, i), fmt.Sprint("GET k", db), fmt.Sprint("EXISTS k", (db+1)%4))
			want = append(want, ok, ok, bulk(fmt.Sprintf("%d-%d", round, i)), integer(0))
		}
		c.send(lines(say...))
		c.expect(want...)
	}
}

// TestProtocolsOfOneClient: what is asked before HELLO is answered in the
// protocol of before, what is asked behind it in the new one.
func TestProtocolsOfOneClient(t *testing.T) {
	w := newWorld(t, realRedis(t).Addr)
	others := []*client{w.dial(), w.dial()}
	others[1].wantPrefix("%7", "HELLO", "3")
	c := w.dial()
	for range 10 {
		c.send(lines("GET none", "HELLO 3", "GET none", "HELLO 2", "GET none"))
		c.expect("$-1\r\n")
		c.expectPrefix("%7\r\n")
		c.expect("_\r\n")
		c.expectPrefix("*14\r\n")
		c.expect("$-1\r\n")
		others[0].want("$-1\r\n", "GET", "none")
		others[1].want("_\r\n", "GET", "none")
	}
}

// TestServerThatWantsALogin: with a login of holdfast's own or without one, who
// has not logged in gets nothing, and who has shares with those of the same
// login only.
func TestServerThatWantsALogin(t *testing.T) {
	onlyShared(t)
	node := lockedRedis(t, "secret")
	if _, err := node.Do(t.Context(), "ACL", "SETUSER", "alice", "on", ">pw", "~*", "&*", "+@all"); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*config.Config){
		"without a login of its own": func(*config.Config) {},
		"with one":                   func(cfg *config.Config) { cfg.Redis.Password = "secret" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, node.Addr, change)
			var strangers, defaults, alices []*client
			for range 5 {
				strangers, defaults, alices = append(strangers, w.dial()), append(defaults, w.dial()), append(alices, w.dial())
			}
			for range 3 {
				for i := range strangers {
					strangers[i].want("-NOAUTH Authentication required.\r\n", "GET", "k")
					defaults[i].want(ok, "AUTH", "secret")
					defaults[i].want(bulk("default"), "ACL", "WHOAMI")
					alices[i].want(ok, "AUTH", "alice", "pw")
					alices[i].want(bulk("alice"), "ACL", "WHOAMI")
					strangers[i].wantPrefix("-WRONGPASS ", "AUTH", "alice", "secret")
					alices[i].wantPrefix("-WRONGPASS ", "AUTH", "wrong")
					alices[i].want(bulk("alice"), "ACL", "WHOAMI")
				}
			}
			w.unmixed()
			if st := w.p.Stats(); st.Shared > 4 {
				t.Errorf("%d shared upstreams for two logins", st.Shared)
			}
			alices[0].want("+RESET\r\n", "RESET")
			alices[0].want("-NOAUTH Authentication required.\r\n", "GET", "k")
			alices[1].want(bulk("alice"), "ACL", "WHOAMI")
			strangers[0].want("-NOAUTH Authentication required.\r\n", "GET", "k")
		})
	}
}

// TestTwoListenersOfOneMaster: those who are let in as holdfast's login do not
// lend it to those who are not.
func TestTwoListenersOfOneMaster(t *testing.T) {
	onlyShared(t)
	node := lockedRedis(t, "secret")
	w := newWorld(t, node.Addr, func(cfg *config.Config) {
		cfg.Redis.Password = "secret"
		trusted, own := cfg.Listeners[0], cfg.Listeners[0]
		trusted.Trust, own.Password = true, "front"
		cfg.Listeners = append(cfg.Listeners, trusted, own)
	})
	addr := make([]string, 3)
	eventually(t, "all listeners", func() bool {
		all := true
		for i, l := range w.p.Stats().Listeners {
			addr[i], all = l.Address, all && l.Bound
		}
		return all
	})
	plain, trusted, own := dialTo(t, addr[0]), dialTo(t, addr[1]), dialTo(t, addr[2])
	w.clients = append(w.clients, plain, trusted, own)
	for range 3 {
		trusted.want(ok, "SET", "k", "v")
		plain.want("-NOAUTH Authentication required.\r\n", "GET", "k")
		own.want("-NOAUTH Authentication required.\r\n", "GET", "k")
	}
	own.wantPrefix("-WRONGPASS ", "AUTH", "secret")
	own.want(ok, "AUTH", "front")
	own.want(bulk("v"), "GET", "k")
	plain.wantPrefix("-WRONGPASS ", "AUTH", "front")
	plain.want(ok, "AUTH", "secret")
	plain.want(bulk("v"), "GET", "k")
	w.unmixed()
}

// TestLimitsOfStrangersDoNotReachOthers: an unauthenticated connection is ended
// by Redis when it says too much; nobody else must be on it.
func TestLimitsOfStrangersDoNotReachOthers(t *testing.T) {
	onlyShared(t)
	node := lockedRedis(t, "secret")
	w := newWorld(t, node.Addr)
	in, reset := w.dial(), w.dial()
	in.want(ok, "AUTH", "secret")
	in.want(pong, "PING")
	reset.want(ok, "AUTH", "secret")
	reset.want("+RESET\r\n", "RESET")
	var polite []*client
	for range 5 {
		c := w.dial()
		c.want("-NOAUTH Authentication required.\r\n", "GET", "k")
		polite = append(polite, c)
	}
	rude := w.dial()
	rude.send(lines("MGET 1 2 3 4 5 6 7 8 9 10 11 12"))
	rude.read()
	for _, c := range append(polite, reset) {
		c.want("-NOAUTH Authentication required.\r\n", "GET", "k")
	}
	in.want(pong, "PING")
	if st := w.counters(); st.Refused["uncertain"] > 0 || st.Closed["client"] > 0 {
		t.Errorf("%+v", st)
	}
}

// TestWaitingClientThatVanishesLeavesNothing: the upstream that was prepared for
// it is kept no longer than any other that nobody uses.
func TestWaitingClientThatVanishesLeavesNothing(t *testing.T) {
	onlyShared(t)
	w, a, _ := twoNodes(t)
	w.dial().want(ok, "SET", "k", "v")
	c := w.dial()
	c.want(ok, "SELECT", "5")
	w.onLoop(w.p.loops[0], func(l *loop) { l.thin(l.sites[0], true) })
	greet := w.shut(a, "SELECT", redistest.OK)
	w.await(a, "SELECT") // the one before
	c.send(line("GET k"))
	w.await(a, "SELECT")
	c.reset()
	eventually(t, "it to be gone", func() bool { return w.p.Stats().Clients == 1 })
	greet.open()
	eventually(t, "nothing to be left of it", func() bool {
		idle := 0
		w.upstreamsOf(func(u *upstream) {
			if u.share.members == 0 {
				idle++
			}
		})
		return idle == 0 && w.preparing() == 0
	})
	if n := w.unmixed(); n != 1 {
		t.Errorf("%d keys for one client", n)
	}
}
