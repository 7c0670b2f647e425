package sentinel

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
)

// The words of a story, as what Sentinels and nodes really say.

// event makes up the payload as Sentinel would.
func (s *story) event(id string, words []string) event {
	payload := "master mymaster " + s.pair(s.m.addr)
	if len(words) == 2 {
		payload = fmt.Sprintf("slave %s %s @ mymaster %s", s.node(words[1]), s.pair(s.node(words[1])), s.pair(s.m.addr))
		switch words[0] {
		case "+new-epoch":
			payload = words[1]
		case "+switch-master":
			to := s.pair(s.node(words[1]))
			if len(words[1]) > 1 {
				to = words[1] + " 6379" // as the peer announced it
			}
			payload = "mymaster " + s.pair(s.m.addr) + " " + to
		}
	}
	e := parse(words[0], payload, s.book.known)
	e.via, e.id, e.heard = id, id, s.now
	return e
}

func (s *story) pair(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "? 0"
	}
	return host + " " + port
}

// answer is a Sentinel's report in words.
func (s *story) answer(words []string) report {
	host := words[0]
	if len(host) == 1 {
		host, _, _ = net.SplitHostPort(s.node(host))
	}
	addr, err := s.book.resolve(context.Background(), host, "6379")
	if err != nil {
		s.t.Fatal(err)
	}
	r := report{addr: addr, announced: addr, quorum: 2, flags: "master"}
	list := ""
	for i := 1; i < len(words); i++ {
		switch w := words[i]; w {
		case "epoch":
			i++
			r.epoch, _ = strconv.ParseUint(words[i], 10, 64)
		case "quorum":
			i++
			r.quorum, _ = strconv.Atoi(words[i])
		case "stage":
			i++
			r.stage = words[i]
		case "down":
			r.flags = "master,s_down"
		case "tilt":
			r.tilt = true
		case "peer":
			i++
			r.peers = append(r.peers, member{addr: words[i], id: words[i]})
		case "replicas", "still", "selected":
			list = w
		default:
			replica := Replica{Address: s.node(w), Flags: "slave", Role: "slave", Master: addr, LinkUp: true}
			i := slices.IndexFunc(r.replicas, func(other Replica) bool { return other.Address == replica.Address })
			if i >= 0 {
				replica = r.replicas[i]
				r.replicas = slices.Delete(r.replicas, i, i+1)
			}
			switch list {
			case "still":
				replica.Role, replica.Master = "master", ""
			case "selected":
				replica.Flags = "slave,promoted"
			case "":
				s.t.Fatalf("what is %q?", w)
			}
			r.replicas = append(r.replicas, replica)
		}
	}
	return r
}

// says is what a node answers.
func (s *story) says(words []string) proof {
	verdicts := map[string]verdict{
		"master": isMaster, "replica": isReplica, "loading": isLoading, "locked": isLocked, "mute": isMute,
	}
	p := proof{runID: "r1", keys: 10, offset: 100}
	switch words[0] {
	case "refuses":
		p.verdict, p.why = isGone, "connection refused"
	case "hangs":
		p.verdict, p.why = isSilent, "does not answer"
	case "says":
		p.verdict, p.why = verdicts[words[1]], "says "+words[1]
		for i := 2; i+1 < len(words); i += 2 {
			n, _ := strconv.Atoi(words[i+1])
			switch words[i] {
			case "run":
				p.runID = words[i+1]
			case "keys":
				p.keys = int64(n)
			case "offset":
				p.offset = int64(n)
			case "replicas":
				p.attached, p.prompt = n, n
			case "late":
				p.prompt = p.attached - n
			}
		}
	}
	if p.verdict == unasked {
		s.t.Fatalf("a node does not know how to %q", words)
	}
	if p.verdict != isMaster {
		p.runID = ""
	}
	return p
}
