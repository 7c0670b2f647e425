package redistest

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"holdfast/internal/pki"
)

// TLS, when it is set before anything is started, makes every server of this
// package speak it and nothing else, replication and Sentinel included; they show
// the certificate "server" of this authority and ask their peers for none.
var TLS *pki.Authority

// listenConf is where a process listens.
func listenConf(n *Node) string {
	host, port, _ := net.SplitHostPort(n.Addr)
	if TLS == nil {
		return fmt.Sprintf("bind %s\nport %s\n", host, port)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "bind %s\nport 0\ntls-port %s\ntls-replication yes\ntls-auth-clients no\n", host, port)
	fmt.Fprintf(&b, "tls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\n", TLS.File("server.pem"), TLS.File("server.key"), TLS.File("ca.pem"))
	return b.String()
}

// toServer is the client's end of a connection to one of our servers.
func toServer(nc net.Conn) net.Conn {
	if TLS == nil {
		return nc
	}
	return tls.Client(nc, &tls.Config{RootCAs: TLS.Pool(), ServerName: "localhost"})
}

// ofServer is a script's end of a connection.
func ofServer(nc net.Conn) net.Conn {
	if TLS == nil {
		return nc
	}
	return tls.Server(nc, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(TLS.File("server.pem"), TLS.File("server.key"))
		return &pair, err
	}})
}
