// Package pki makes throwaway certificates, for tests and the benchmark only.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"holdfast/config"
)

// Authority signs certificates and writes them to a folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New makes an authority whose files are name.pem and name.key in dir.
func New(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, key: key, cert: template(name)}
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	return a, a.write(name, a.cert, key)
}

// Issue makes a certificate of this machine's loopback addresses, for either end
// of a connection; its files are name.pem and name.key.
func (a *Authority) Issue(name string) error {
	return a.IssueUntil(name, time.Now().Add(24*time.Hour))
}

// IssueUntil makes one that expires then, which may be up to an hour ago.
func (a *Authority) IssueUntil(name string, expires time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template(name)
	t.NotAfter = expires
	t.DNSNames = []string{"localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return a.write(name, t, key)
}

// Pool trusts this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.pem)
	return pool
}

// Trusting is the configuration of holdfast that speaks TLS to servers of this
// authority.
func (a *Authority) Trusting() (config.ClientTLS, error) {
	cfg, err := config.Parse(fmt.Appendf(nil, `
sentinel: {addresses: [127.0.0.1:1]}
listeners: [{address: 127.0.0.1:0, master: m}]
redis: {tls: {enabled: true, ca_file: %s}}
`, a.File("ca.pem")), nil)
	if err != nil {
		return config.ClientTLS{}, err
	}
	return cfg.Redis.TLS, nil
}

// File is the path of a file that was made here.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

func (a *Authority) write(name string, t *x509.Certificate, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if a.pem == nil {
		a.pem = text
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.File(name+".pem"), text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(a.File(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // rand.Reader never fails
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}
