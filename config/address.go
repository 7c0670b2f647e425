package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/go-sockaddr/template"
)

// An endpoint is a host:port in comparable form.
type endpoint struct {
	host string // lower-case name or canonical address; empty: every address of this machine
	port int
}

// overlaps says whether one machine cannot listen on both. A wildcard takes
// the port of all addresses, those of the other IP version too, as Go listens.
// Port 0 is another one each time.
func (e endpoint) overlaps(o endpoint) bool {
	return e.port == o.port && e.port != 0 && (e.host == o.host || e.host == "" || o.host == "")
}

// readListenAddress resolves an address to listen on, in place. One that is a
// fault gives the zero endpoint, which overlaps with none.
func (d *draft) readListenAddress(key string, address *string) endpoint {
	e, _ := d.readAddress(key, address)
	if ip, err := netip.ParseAddr(e.host); err == nil && ip.IsUnspecified() {
		e.host = ""
	}
	return e
}

// readDialAddress resolves an address to connect to, in place.
func (d *draft) readDialAddress(key string, address *string) (endpoint, bool) {
	e, ok := d.readAddress(key, address)
	switch {
	case !ok:
	case e.host == "":
		d.fault(key, "%q has no host; write host:port", *address)
	case e.port == 0:
		d.fault(key, "%q has no port to connect to; ports are 1 to 65535", *address)
	default:
		return e, true
	}
	return e, false
}

func (d *draft) readAddress(key string, address *string) (endpoint, bool) {
	resolved, err := resolve(*address)
	if err != nil {
		d.fault(key, "%v", err)
		return endpoint{}, false
	}
	e, err := parseAddress(resolved)
	if err != nil {
		d.fault(key, "%v", err)
		return endpoint{}, false
	}
	*address = resolved
	return e, true
}

// resolve fills in a go-sockaddr template: {{ GetInterfaceIP "eth0" }}:6379.
// The templates' functions answer with nothing when there is no such interface
// or address, and a listener on ":6379" would then be open to the world.
func resolve(address string) (string, error) {
	resolved, err := expand(address)
	if err == nil && resolved != address && (strings.HasPrefix(resolved, ":") || strings.HasPrefix(resolved, "[]")) {
		return "", fmt.Errorf("%q finds no address on this machine", address)
	}
	return resolved, err
}

// expand is what a template comes to; text that is none stays as it is.
func expand(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	expanded, err := template.Parse(text)
	return strings.TrimSpace(expanded), err
}

// decodeIP sets ip from an address of any interface's, a template of one, or
// a CIDR, of which the length does not count. An empty text leaves it.
func (d *draft) decodeIP(key, text string, ip *netip.Addr) {
	expanded, err := expand(text)
	if err != nil {
		d.fault(key, "%v", err)
		return
	}
	if expanded == "" {
		if text != "" {
			d.fault(key, "%q finds no address on this machine", text)
		}
		return
	}
	parsed, err := netip.ParseAddr(expanded)
	if prefix, e := netip.ParsePrefix(expanded); e == nil {
		parsed, err = prefix.Addr(), nil
	}
	if err != nil || parsed.Zone() != "" {
		d.fault(key, "%q is not an IP address", expanded)
		return
	}
	*ip = parsed.Unmap()
}

// parseAddress takes host:port apart. The host may be empty and the port 0.
func parseAddress(address string) (endpoint, error) {
	if address == "" {
		return endpoint{}, errors.New("is missing; write host:port")
	}
	// A URL may have a password in it, so it is not repeated.
	if strings.ContainsAny(address, "/@") {
		return endpoint{}, errors.New("is not host:port; leave out scheme, user and path")
	}
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not host:port; an IPv6 address is written in brackets, like [::1]:6379", address)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q has no valid port; ports are numbers up to 65535", address)
	}
	if host != "" {
		if host, err = parseHost(host); err != nil {
			return endpoint{}, err
		}
	}
	return endpoint{host, int(port)}, nil
}

// parseHost gives a name or an IP address in comparable form.
func parseHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || last == "" || len(name) > 253 || strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%q is neither an IP address nor a host name", host)
	}
	return name, nil
}
