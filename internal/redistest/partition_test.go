package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// reaches says whether a PING from one host to a node is answered within the
// time of ctx, over a connection of its own or one that exists.
func reaches(ctx context.Context, from *Host, n *Node) error {
	_, err := (&Node{Name: n.Name, Addr: n.Addr, Host: from}).Do(ctx, "PING")
	return err
}

func TestPartitionDropsSilentlyAndHeals(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx := within(t, 30*time.Second)
	c := New(t, Options{Replicas: 1, Namespaces: true})
	defer c.Stop()
	a, b, endpoint := c.Nodes[0], c.Nodes[1], c.Endpoint()
	open, err := endpoint.DialContext(ctx, "tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	if err := c.Partition([]*Host{endpoint}, Hosts(a)); err != nil {
		t.Fatal(err)
	}
	if err := reaches(ctx, endpoint, b); err != nil {
		t.Errorf("a partition from one node cuts another: %v", err)
	}
	if err := reaches(ctx, b.Host, a); err != nil {
		t.Errorf("the nodes are apart: %v", err)
	}
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var silence net.Error
	if err := reaches(brief, endpoint, a); !errors.As(err, &silence) || !silence.Timeout() {
		t.Errorf("a dial across a partition is not silent: %v", err)
	}
	if _, err := open.Write([]byte("PING\r\n")); err != nil {
		t.Errorf("a write across a partition: %v", err)
	}
	_ = open.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	reply := make([]byte, 16)
	if _, err := open.Read(reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read across a partition is not silent: %v", err)
	}
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	_ = open.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := open.Read(reply); err != nil || string(reply[:n]) != "+PONG\r\n" {
		t.Errorf("after the partition: %q, %v", reply[:n], err)
	}
	if err := reaches(ctx, endpoint, a); err != nil {
		t.Error(err)
	}
}

// The partition that hurts most: the endpoint and the old master are alone with
// one Sentinel of three.
func TestMinorityPartition(t *testing.T) {
	t.Parallel()
	ctx := within(t, failing)
	c := New(t, Options{Replicas: 2, Sentinels: 3, Namespaces: true, DownAfter: 500 * time.Millisecond})
	minority := append(Hosts(c.Nodes[0], c.Sentinels[0]), c.Endpoint())
	if err := c.Partition(minority, nil); err != nil {
		t.Fatal(err)
	}
	master, err := c.AwaitMaster(ctx, func(n *Node) bool { return n != c.Nodes[0] })
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := c.Sentinels[0].masterAddr(ctx, c.Name()); err != nil || addr != c.Nodes[0].Addr {
		t.Errorf("the Sentinel that is cut off names %s, %v", addr, err)
	}
	if err := reaches(ctx, c.Endpoint(), c.Nodes[0]); err != nil {
		t.Errorf("the endpoint does not reach its own side: %v", err)
	}
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := reaches(ctx, c.Endpoint(), master); err != nil {
		t.Error(err)
	}
}

func TestEndpointRunsPrograms(t *testing.T) {
	ctx := within(t, 30*time.Second)
	c := New(t, Options{Namespaces: true})
	l, err := c.Endpoint().Listen("tcp", net.JoinHostPort(c.Endpoint().Addr(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("SKIPPED, not tested:", err)
	}
	host, port, _ := net.SplitHostPort(c.Nodes[0].Addr)
	cmd := exec.CommandContext(ctx, cli, "-h", host, "-p", port, "CLIENT", "LIST")
	var out strings.Builder
	cmd.Stdout = &out
	p, err := c.Endpoint().Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	var id int
	var addr string
	if _, err := fmt.Sscanf(out.String(), "id=%d addr=%s", &id, &addr); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if from, _, _ := net.SplitHostPort(addr); from != c.Endpoint().Addr() {
		t.Errorf("the node sees %s instead of %s", from, c.Endpoint().Addr())
	}
}
