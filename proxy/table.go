package proxy

import (
	"strconv"
	"strings"
	"time"

	"holdfast/resp"
	"holdfast/sentinel"
)

// table is what the server's own COMMAND says of each command, by lower-case
// name and by "container|subcommand". Immutable.
type table struct {
	view  *sentinel.View // under which it was asked for
	flags map[string]trait
}

// trait is the part of a command's flags that decides whether it may be sent
// twice, and whether it may travel with those of others.
type trait uint16

const (
	traitRead       trait = 1 << iota // readonly and not may_replicate
	traitBlocking                     //
	traitWrite                        // write or may_replicate
	traitContainer                    // its subcommands have flags of their own
	traitAdmin                        //
	traitBusy                         // allow_busy: runs while a script does
	traitModule                       //
	traitConnection                   // in the ACL category of that name
	traitWaits                        // in the ACL category "blocking"
)

// parseTable reads the reply to COMMAND. Each command is an array of name,
// arity, flags, first key, last key, step and, since 7.0, categories, tips, key
// specifications and subcommands.
func parseTable(v *sentinel.View, reply []byte) *table {
	t := &table{view: v, flags: map[string]trait{}}
	for cmd := range resp.Elements(reply) {
		t.add(cmd)
	}
	t.blockByCategory()
	return t
}

// blockByCategory is for servers before Redis 7, of which no flag but only the
// ACL category tells what may block.
func (t *table) blockByCategory() {
	for _, is := range t.flags {
		if is&traitBlocking != 0 {
			return
		}
	}
	for name, is := range t.flags {
		if is&traitWaits != 0 {
			t.flags[name] = is | traitBlocking
		}
	}
}

func (t *table) add(cmd []byte) {
	var name string
	var is trait
	i := 0
	for field := range resp.Elements(cmd) {
		switch i {
		case 0:
			text, _ := resp.String(field)
			name = strings.ToLower(string(text))
		case 2:
			is |= traits(field)
		case 6:
			for category := range resp.Elements(field) {
				switch text, _ := resp.String(category); string(text) {
				case "@connection":
					is |= traitConnection
				case "@blocking":
					is |= traitWaits
				}
			}
		case 9:
			for sub := range resp.Elements(field) {
				is |= traitContainer
				t.add(sub)
			}
		}
		i++
	}
	if name != "" {
		t.flags[name] = is
	}
}

func traits(flags []byte) trait {
	var is trait
	replicates := false
	for flag := range resp.Elements(flags) {
		switch text, _ := resp.String(flag); string(text) {
		case "readonly":
			is |= traitRead
		case "blocking":
			is |= traitBlocking
		case "write", "may_replicate":
			is |= traitWrite
			replicates = true
		case "admin":
			is |= traitAdmin
			replicates = true
		case "allow_busy":
			is |= traitBusy
		case "module":
			is |= traitModule
		}
	}
	if replicates {
		is &^= traitRead
	}
	return is
}

func lower(word []byte) string { return strings.ToLower(string(word)) }

// of finds a command's traits; an unknown command has none and so is treated as
// a write.
func (t *table) of(cmd []byte) trait {
	if t == nil {
		return 0
	}
	args := resp.Args(nil, cmd)
	if len(args) == 0 {
		return 0
	}
	name := lower(args[0])
	is := t.flags[name]
	if is&traitContainer != 0 && len(args) > 1 {
		return t.flags[name+"|"+lower(args[1])]
	}
	return is
}

// readOnly tells whether the server says that cmd changes nothing anywhere.
// PING, ECHO and TIME carry no such flag and change nothing either.
func (m *master) readOnly(cmd []byte) bool {
	switch name := resp.Name(cmd); {
	case is(name, "ping"), is(name, "echo"), is(name, "time"):
		return true
	}
	return m.table.Load().of(cmd)&traitRead != 0
}

// writes tells whether the server says that cmd is a write.
func (m *master) writes(cmd []byte) bool {
	return m.table.Load().of(cmd)&traitWrite != 0
}

// reissue is a blocking command with the time that is left of its wait; nil for
// any other command.
func (m *master) reissue(cmd []byte, waited time.Duration) []byte {
	if m.table.Load().of(cmd)&traitBlocking == 0 {
		return nil
	}
	return remaining(cmd, waited)
}

// introduce is done on the first connection that is prepared under a View,
// before any client's command travels under it: the server says what its
// commands are, and is told the scripts that its predecessor knew. A login that
// may not do either is no reason to fail: without a table every command is
// treated as a write.
func (m *master) introduce(v *sentinel.View, h *handshake) error {
	m.first.Lock()
	defer m.first.Unlock()
	old := m.table.Load()
	if old != nil && (old.view.Seq >= v.Seq || old.view.RunID == v.RunID && v.RunID != "") {
		return nil
	}
	reply, err := h.ask(command("COMMAND"))
	if err != nil {
		return err
	}
	if err := h.replay([]step{m.scripts.load()}); err != nil {
		return err
	}
	if reply[0] != '-' {
		m.table.Store(parseTable(v, reply))
	}
	return nil
}

// remaining rewrites a blocking command so that it waits for what is left of
// its time. Nil when its form is not known.
func remaining(cmd []byte, waited time.Duration) []byte {
	args := resp.Args(nil, cmd)
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = string(a)
	}
	at, unit := timeoutOf(words)
	if at <= 0 || at >= len(words) {
		return nil
	}
	given, err := strconv.ParseFloat(words[at], 64)
	if err != nil || given < 0 {
		return nil
	}
	if given == 0 {
		return cmd // for ever
	}
	left := given - float64(waited)/float64(unit)
	if unit == time.Millisecond {
		words[at] = strconv.FormatInt(max(1, int64(left)), 10)
	} else {
		words[at] = strconv.FormatFloat(max(0.001, left), 'f', 3, 64)
	}
	return command(words...)
}

// blockOf finds BLOCK among the options of XREAD, which end at STREAMS.
func blockOf(words []string, first int) (at int, unit time.Duration) {
	for i := first; i < len(words) && !strings.EqualFold(words[i], "streams"); i++ {
		if strings.EqualFold(words[i], "block") {
			return i + 1, time.Millisecond
		}
	}
	return -1, 0
}

// timeoutOf finds the timeout of a blocking command, and its unit.
func timeoutOf(words []string) (at int, unit time.Duration) {
	switch strings.ToLower(words[0]) {
	case "blpop", "brpop", "brpoplpush", "bzpopmin", "bzpopmax", "blmove":
		return len(words) - 1, time.Second
	case "blmpop", "bzmpop":
		return 1, time.Second
	case "xread":
		return blockOf(words, 1)
	case "xreadgroup":
		return blockOf(words, 4) // after GROUP group consumer
	}
	return -1, 0
}

func (t *table) flagsOf(name string) (is trait, known bool) {
	if t == nil {
		return 0, false
	}
	is, known = t.flags[name]
	return is, known
}
