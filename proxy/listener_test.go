package proxy

import (
	"net/netip"
	"testing"

	"holdfast/config"
)

// TestListenerOnAVirtualAddress: it is bound although the address is not there
// (203.0.113.0/24 is for documentation and nobody's); a wrong one is still a fault.
func TestListenerOnAVirtualAddress(t *testing.T) {
	node := realRedis(t)
	w := newWorld(t, node.Addr, func(cfg *config.Config) {
		virtual, wrong := cfg.Listeners[0], cfg.Listeners[0]
		virtual.Address, wrong.Address = "203.0.113.1:0", "203.0.113.2:0"
		cfg.Listeners = append(cfg.Listeners, virtual, wrong)
		cfg.VIP = []config.VIP{{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}}
	})
	eventually(t, "both to be tried", func() bool {
		st := w.p.Stats().Listeners
		return st[1].Bound && st[2].Error != ""
	})
}
