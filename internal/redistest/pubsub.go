package redistest

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

// publishTimeout bounds the sending to a subscriber that does not read.
const publishTimeout = 5 * time.Second

// pubsub are the commands that every script knows.
var pubsub = map[string]Handler{
	"SUBSCRIBE":    (*Conn).subscribe,
	"PSUBSCRIBE":   (*Conn).subscribe,
	"UNSUBSCRIBE":  (*Conn).unsubscribe,
	"PUNSUBSCRIBE": (*Conn).unsubscribe,
}

// subscriptions returns the set that a command is about, and the command's name
// as its confirmation has it.
func (c *Conn) subscriptions(command string) (set map[string]bool, name string) {
	name = strings.ToLower(command)
	if name[0] == 'p' {
		return c.patterns, name
	}
	return c.channels, name
}

// subscribe confirms first and counts the subscription then, so that no message
// overtakes the confirmation.
func (c *Conn) subscribe(args []string) {
	set, name := c.subscriptions(args[0])
	for _, channel := range args[1:] {
		c.script.mu.Lock()
		count := len(c.channels) + len(c.patterns)
		if !set[channel] {
			count++
		}
		c.script.mu.Unlock()
		c.confirm(name, channel, count)
		if c.Flush() != nil {
			return
		}
		c.script.mu.Lock()
		set[channel] = true
		c.script.change()
		c.script.mu.Unlock()
	}
}

// unsubscribe without names ends all subscriptions of the kind.
func (c *Conn) unsubscribe(args []string) {
	set, name := c.subscriptions(args[0])
	c.script.mu.Lock()
	defer c.script.mu.Unlock()
	channels := args[1:]
	if len(channels) == 0 {
		for channel := range set {
			channels = append(channels, channel)
		}
	}
	for _, channel := range channels {
		delete(set, channel)
		c.confirm(name, channel, len(c.channels)+len(c.patterns))
	}
	c.script.change()
}

func (c *Conn) confirm(name, channel string, count int) {
	c.WriteRaw(c.push(3))
	c.WriteBulkString(name)
	c.WriteBulkString(channel)
	c.WriteInt(count)
}

// push is the header of n elements that are no reply: RESP3's push, an array in
// RESP2.
func (c *Conn) push(n int) []byte {
	if c.proto == 3 {
		return header('>', n)
	}
	return header('*', n)
}

// Publish sends a message to all subscribers of the channel, by name and by
// pattern, and returns to how many. A subscriber that reads nothing for 5 s is
// not waited for.
func (s *Script) Publish(channel, payload string) (receivers int) {
	type message struct {
		c     *Conn
		frame []byte
	}
	var messages []message
	s.mu.Lock()
	for c := range s.conns {
		if c.channels[channel] {
			messages = append(messages, message{c, c.message("message", channel, payload)})
		}
		for pattern := range c.patterns {
			if ok, _ := path.Match(pattern, channel); ok {
				messages = append(messages, message{c, c.message("pmessage", pattern, channel, payload)})
			}
		}
	}
	s.mu.Unlock()
	for _, m := range messages {
		if m.c.send(m.frame) == nil {
			receivers++
		}
	}
	return receivers
}

func (c *Conn) message(words ...string) []byte {
	frame := c.push(len(words))
	for _, w := range words {
		frame = redcon.AppendBulkString(frame, w)
	}
	return frame
}

func (c *Conn) send(frame []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.net.SetWriteDeadline(time.Now().Add(publishTimeout)) // fails only on a closed connection
	defer func() { _ = c.net.SetWriteDeadline(time.Time{}) }()
	_, err := c.net.Write(frame)
	return err
}

// AwaitSubscriber waits until a connection has subscribed to a channel, or to a
// pattern that is spelled like this.
func (s *Script) AwaitSubscriber(ctx context.Context, channel string) error {
	return s.await(ctx, "a subscriber of "+channel, func() bool {
		for c := range s.conns {
			if c.channels[channel] || c.patterns[channel] {
				return true
			}
		}
		return false
	})
}
