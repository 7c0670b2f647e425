// Package lan is a local network for tests: hosts in network namespaces on one
// switch, with faults that can be made and healed, and with eyes on it: who owns
// an address, what a client sees, what is on the wire. It needs Linux, root and
// ip(8).
//
// Nothing outlives the test's process: namespaces are held by descriptors only,
// and every program that is started dies with its launcher.
package lan
