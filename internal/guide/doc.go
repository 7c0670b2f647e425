// Package guide has the stories that guides to Redis with a virtual address tell,
// as tests: two nodes and a witness, and three nodes, each a network namespace with
// the Redis, the Sentinel and the holdfast of the examples in deploy, whose files
// are used as they are. They need Linux, root and ip(8).
package guide
