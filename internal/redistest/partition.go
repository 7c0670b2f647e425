package redistest

import "slices"

// Endpoint is a host of its own for the caller's programs, sockets and listeners
// (Start, DialContext, Listen, Inside): it reaches all nodes, unless it is cut
// off. It is nil, this process' own network, without Options.Namespaces.
func (c *Cluster) Endpoint() *Host {
	if c.network == nil {
		return nil
	}
	return c.network.hosts[len(c.network.hosts)-1]
}

// Partition cuts the network between the hosts of a and those of b, until Heal:
// packets vanish in both directions, connections stay open and say nothing. Hosts
// in neither group reach everybody. With nil as b, it is everybody who is not in
// a. Further calls add to what is cut. It fails without Options.Namespaces.
func (c *Cluster) Partition(a, b []*Host) error {
	if c.network == nil {
		return errNoNetwork
	}
	if b == nil {
		b = slices.DeleteFunc(slices.Clone(c.network.hosts), func(h *Host) bool { return slices.Contains(a, h) })
	}
	return c.network.partition(a, b)
}

// Heal ends all partitions. Connections whose packets were lost meanwhile go on
// when TCP sends again.
func (c *Cluster) Heal() error {
	if c.network == nil {
		return errNoNetwork
	}
	return c.network.heal()
}

// Hosts are the hosts of these nodes, to be given to Partition.
func Hosts(nodes ...*Node) []*Host {
	hosts := make([]*Host, len(nodes))
	for i, n := range nodes {
		hosts[i] = n.Host
	}
	return hosts
}
