package chaos

import (
	"strconv"
	"time"
)

const (
	publisherPace = 5 * time.Millisecond
	// listening is how long a subscriber waits before it looks whether it is over.
	listening = 100 * time.Millisecond
)

// publisher sends numbered messages on its topic.
type publisher struct{ *client }

func newPublisher(c *client, topic string) player {
	c.topic = topic
	return &publisher{client: c}
}

func (p *publisher) play() { p.every(publisherPace, p.turn) }

func (p *publisher) turn() {
	m := message{seq: len(p.sent) + 1, sent: p.clock()}
	if r, ok := p.do("PUBLISH", p.topic, strconv.Itoa(m.seq)); ok {
		m.outcome = p.settle(r, isInteger, "PUBLISH")
	}
	m.done = p.clock()
	p.sent = append(p.sent, m)
}

// subscriber listens to one topic: by name in RESP2, or by pattern in RESP3, where
// messages are pushes.
type subscriber struct {
	*client
	pattern bool
}

func newSubscriber(c *client, topic string, pattern bool) player {
	c.topic = topic
	s := &subscriber{client: c, pattern: pattern}
	s.greet = s.subscribe
	return s
}

func (s *subscriber) source() bool { return false }

func (s *subscriber) subscribe() bool {
	verb, target := "subscribe", s.topic
	if s.pattern {
		verb, target = "psubscribe", s.topic+"*"
		if _, ok := s.ask(isMap, "HELLO", "3"); !ok {
			return false
		}
	}
	s.conn.queue(verb, target)
	if err := s.conn.flush(s.patience); err != nil {
		s.broken(err)
		return false
	}
	r, err := s.conn.read(s.patience)
	if err != nil {
		s.broken(err)
		return false
	}
	if r.failed() {
		s.fault(r.text)
	}
	return s.settle(r, func(r reply) bool { return r.is(verb, target) }, verb) == acked
}

func isMap(r reply) bool { return r.kind == '%' }

func (s *subscriber) play() {
	for {
		select {
		case <-s.drain:
			s.finish()
			return
		default:
		}
		if s.ready() {
			s.listen()
		}
	}
}

// listen takes one message, if one comes soon.
func (s *subscriber) listen() {
	some, err := s.conn.await(listening)
	if err != nil {
		s.broken(err)
	} else if some {
		s.next()
	}
}

// next reads one message, or the reply to finish's PING: then it returns true.
func (s *subscriber) next() (pong bool) {
	r, err := s.conn.read(s.patience)
	if err != nil {
		s.broken(err)
		return false
	}
	if r.is("pong") || r.text == "PONG" {
		return true
	}
	payload := 2
	if s.pattern {
		payload = 3
	}
	if (r.is("message", s.topic) || r.is("pmessage", s.topic+"*", s.topic)) && len(r.elems) == payload+1 {
		s.right()
		s.got = append(s.got, arrival{int(r.elems[payload].number()), s.clock()})
		return false
	}
	s.mistaken(r, "(subscribed)")
	return false
}

// finish takes all that was sent before: a PING's reply comes behind it.
func (s *subscriber) finish() {
	if s.conn == nil {
		return
	}
	s.conn.queue("PING")
	if err := s.conn.flush(s.patience); err != nil {
		s.broken(err)
		return
	}
	for s.conn != nil && !s.next() {
	}
}
