package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"holdfast/health"
	"holdfast/internal/redistest"
)

// Holdfast runs a holdfast binary with this failover.release, "confirmed" or
// "promoted", and this mode of its listener; "" leaves that to holdfast.
func Holdfast(binary, release, mode string) Endpoint {
	return func(_ context.Context, c *redistest.Cluster, log io.Writer) (*Front, error) {
		addr, health, err := two(c)
		if err != nil {
			return nil, err
		}
		if mode != "" {
			mode = ", mode: " + mode
		}
		conf := fmt.Sprintf(holdfastConf, strings.Join(c.SentinelAddrs(), `", "`), addr, c.Name(), mode, release, health)
		front, err := program(c, addr, conf, log, binary, "run", "-c")
		if err != nil {
			return nil, err
		}
		s := steward{c.Endpoint(), health, c.Name(), binary}
		front.Status, front.Switchover = s.status, s.switchover
		return front, nil
	}
}

const holdfastConf = `sentinel: {addresses: ["%s"]}
listeners: [{address: "%s", master: %s%s}]
failover: {release: %s}
health: {address: "%s"}
`

// steward speaks to a running holdfast as its operator does, on its host.
type steward struct {
	host   *redistest.Host
	health string // its address
	master string
	binary string
}

// status is its /status.
func (s steward) status(ctx context.Context) (*health.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, getReady)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.health+"/status", nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: s.host.DialContext, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	st := new(health.Status)
	return st, json.NewDecoder(answer.Body).Decode(st)
}

// switchover runs `holdfast switchover` to its end, which its own timeout bounds.
func (s steward) switchover(context.Context) error {
	var said bytes.Buffer
	cmd := exec.Command(s.binary, "switchover", s.master, "-a", s.health)
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := s.host.Start(cmd)
	if err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("holdfast switchover: %w\n%s", err, said.String())
	}
	return nil
}

// stopped tells when a holdfast stopped writing to its master, for all failovers
// that are over; ascending.
func stopped(st *health.Status) (all []time.Time) {
	for _, m := range st.Masters {
		for _, f := range m.Failovers {
			if f.Clients != nil {
				all = append(all, f.Clients.At)
			}
		}
	}
	return all
}
