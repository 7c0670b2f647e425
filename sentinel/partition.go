package sentinel

import (
	"fmt"
	"time"
)

// A master that has lost its replicas, seen by somebody who has lost the
// Sentinels, is what the minority side of a partition looks like: on the other
// side a replica may have been promoted. Either alone is no reason to stop. The
// master's own count is used, because the Sentinels are what cannot be asked.
//
// The other side promotes somebody one to two seconds after the cut, if its
// down-after-milliseconds is a second. So both are noticed early: a Sentinel whose
// answer is overdue, and a replica whose acknowledgement is. A machine that is slow
// shows one or the other, or both for a moment; hence lackingProofs.

// replicaMemory is for how long a lower count of replicas must stand before it
// is taken for the normal one, so that the replicas that a partition took away
// are still missed when it is noticed that it took the Sentinels too.
const replicaMemory = 30 * time.Second

// lackingProofs is how many proofs in a row, probeAgain apart, must show that most
// replicas are late, while too few Sentinels answer at once.
const lackingProofs = 2

// roster is how many replicas the master has.
type roster struct {
	told     bool      // by the master, since it is believed
	counted  bool      // by the master, with a quorum of Sentinels in sight
	usual    int       // the highest number lately
	usualAt  time.Time // when there were last so many
	attached int       // by the last proof
	prompt   int       // of those, the ones that are not late
	lacking  int       // proofs in a row with too few of them, while too few Sentinels answered at once
}

// countReplicas takes in how many replicas the master says it has.
func (m *machine) countReplicas(p proof) {
	r, b := &m.replicas, m.bench()
	r.told, r.attached, r.prompt = true, p.attached, p.prompt
	switch late := p.prompt*2 < r.usual; {
	case !late:
		r.lacking = 0
	case b.prompt < b.quorum:
		r.lacking++
	default:
		r.lacking, m.wantPoll = 0, true // do the Sentinels still answer?
	}
	if len(b.sighted) < b.quorum && p.attached < r.usual {
		return
	}
	r.counted = r.counted || len(b.sighted) >= b.quorum
	if p.attached >= r.usual || m.now.Sub(r.usualAt) > replicaMemory {
		r.usual, r.usualAt = p.attached, m.now
	}
}

// missing says how many replicas the master has left and how many it should have.
// For one that was never counted, Sentinel's list must do.
func (m *machine) missing(b bench) (left, of int) {
	if !m.replicas.told {
		return 0, 0
	}
	left, of = m.replicas.attached, m.replicas.usual
	if m.replicas.lacking >= lackingProofs {
		return m.replicas.prompt, of
	}
	if !m.replicas.counted {
		for _, r := range b.sighted {
			if r.addr == m.addr {
				of = max(of, len(r.replicas))
			}
		}
		if left > 0 {
			of = left // that list also has replicas that are gone for good
		}
	}
	return left, of
}

// cutOff says why this may be the wrong side of a partition, or "". The replicas
// are lost when fewer than half of them are left.
func (m *machine) cutOff(b bench) string {
	if m.addr == "" || b.prompt >= b.quorum {
		return ""
	}
	answering, when := len(b.sighted), ""
	if answering >= b.quorum {
		if m.replicas.lacking < lackingProofs {
			return ""
		}
		answering, when = b.prompt, " in time"
	}
	why := fmt.Sprintf("%d of %d Sentinels answer%s and %d are needed", answering, b.known, when, b.quorum)
	if m.rules.requireQuorum && when == "" {
		return why
	}
	left, of := m.missing(b)
	if left*2 >= of {
		return ""
	}
	return fmt.Sprintf("%s, and %s has %d of its %d replicas left: this may be the smaller side of a partition", why, m.addr, left, of)
}
