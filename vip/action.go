package vip

// kind is what an action does.
type kind int

// An owner's advert always stands behind a take or a refresh, so that it is never
// sent without the addresses; only the last one of an owner that yields does not.
const (
	take     kind = iota // put the addresses on the interface, with a fresh lease, those too that are there already
	refresh              // make the lease of the addresses fresh
	send                 // an advert
	announce             // every address, by gratuitous ARP or unsolicited NA
	leave                // end the clients on the addresses
	drop                 // remove the addresses from the interface, if they are there
	clean                // remove from the interface what others made of the addresses, and nothing of ours
	enter                // a state: log, notify
	alarm                // log seldom: somebody has to look at it
)

// action is what the machine wants done. A list of them is carried out in order.
// If take or refresh cannot be carried out, the rest of the list is not: the
// machine is told instead, by slept when the lease was too old to refresh, by lost
// when an address was gone, else by failed. After a send that fails, the rest is
// carried out and then the machine told.
type action struct {
	kind   kind
	advert advert // send
	state  State  // enter
	alarm  string // alarm: which
	why    string // enter, alarm
}

// The alarms.
const (
	twoOwners    = "two_owners"    // another router goes on owning, though it hears us or should
	duplicate255 = "duplicate_255" // two routers are configured to own whatever the other does
	strayAddress = "stray_address" // somebody else put an address on our interface
)

func (m *machine) do(k kind) { m.actions = append(m.actions, action{kind: k}) }

// say sends an advert of this priority.
func (m *machine) say(priority int) {
	m.actions = append(m.actions, action{kind: send, advert: advert{
		version: m.vip.Version, routerID: m.vip.RouterID, priority: priority, interval: m.own(),
		addresses: m.vip.Addresses, password: string(m.vip.Password),
	}})
}

func (m *machine) raise(name, why string) {
	m.alarms[name]++
	m.actions = append(m.actions, action{kind: alarm, alarm: name, why: why})
}
