package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// ServerTLS says how the clients of a listener are spoken to; without a
// certificate they are spoken to in the clear. Its files are named only: what is
// in them is read when it is needed, since certificates are renewed.
type ServerTLS struct {
	CertFile     string `yaml:"cert_file"`      // PEM: the certificate, and those between it and its authority
	KeyFile      string `yaml:"key_file"`       // PEM: its private key
	ClientCAFile string `yaml:"client_ca_file"` // PEM: clients must present a certificate of one of these authorities
}

// ClientTLS says how Redis nodes or Sentinels are spoken to.
type ClientTLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`     // PEM: who may have signed their certificates; "": the system's authorities
	CertFile   string `yaml:"cert_file"`   // PEM: presented to them; "": none
	KeyFile    string `yaml:"key_file"`    // PEM: its private key
	ServerName string `yaml:"server_name"` // the name in their certificates; "": the host or address that is dialled

	conf *tls.Config // what all of this comes to; set when it is checked
}

// On says whether there is TLS.
func (t ServerTLS) On() bool { return t != ServerTLS{} }

// Certificate reads the certificate and its key as the files are now.
func (t ServerTLS) Certificate() (*tls.Certificate, error) { return readPair(t.CertFile, t.KeyFile) }

// ClientCAs reads whose certificates clients may present; nil: none are wanted.
func (t ServerTLS) ClientCAs() (*x509.CertPool, error) {
	if t.ClientCAFile == "" {
		return nil, nil
	}
	return readAuthorities(t.ClientCAFile)
}

// Version tells the files of the certificate and its key, as they are now, from what
// they were before.
func (t ServerTLS) Version() (version string) {
	for _, file := range []string{t.CertFile, t.KeyFile} {
		if info, err := os.Stat(file); err == nil {
			version += fmt.Sprintf("%d bytes of %v, ", info.Size(), info.ModTime().UnixNano())
		}
	}
	return version
}

// For is how the server at host:port is spoken to; nil: in the clear.
func (t ClientTLS) For(addr string) *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := t.conf.Clone()
	if c.ServerName = t.ServerName; c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return c
}

func readPair(cert, key string) (*tls.Certificate, error) {
	chain, err := readFile(cert, maxFile)
	if err != nil {
		return nil, err
	}
	secret, err := readFile(key, maxFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", cert, key, err)
	}
	return &pair, nil
}

func readAuthorities(file string) (*x509.CertPool, error) {
	data, err := readFile(file, maxFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: there is no PEM certificate in it", file)
	}
	return pool, nil
}

// checkServerTLS holds that the files can be used as they are now.
func (d *draft) checkServerTLS(key string, t ServerTLS) {
	if t.On() && d.checkPair(key, t.CertFile, t.KeyFile, true) {
		if _, err := t.ClientCAs(); err != nil {
			d.fault(key+".client_ca_file", "%v", err)
		}
	}
}

// checkClientTLS does the same, and keeps what it has read.
func (d *draft) checkClientTLS(key string, t *ClientTLS) {
	if !t.Enabled {
		if *t != (ClientTLS{}) {
			d.fault(key+".enabled", "must be true for the other keys of %s to mean anything", key)
		}
		return
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// After a failover all connections are made anew at once.
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
		// Whole records from the first: a pipeline is wanted in one piece.
		DynamicRecordSizingDisabled: true,
	}
	if t.CAFile != "" {
		pool, err := readAuthorities(t.CAFile)
		if err != nil {
			d.fault(key+".ca_file", "%v", err)
		}
		c.RootCAs = pool
	}
	if d.checkPair(key, t.CertFile, t.KeyFile, false) && t.CertFile != "" {
		cert, secret := t.CertFile, t.KeyFile
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return readPair(cert, secret) }
	}
	t.conf = c
}

// checkPair holds that a certificate and its key belong together.
func (d *draft) checkPair(key, cert, secret string, needed bool) bool {
	switch {
	case cert == "" && secret == "" && !needed:
		return true
	case cert == "":
		d.fault(key+".cert_file", "is missing")
		return false
	case secret == "":
		d.fault(key+".key_file", "is missing: the private key of %s", cert)
		return false
	}
	if _, err := readPair(cert, secret); err != nil {
		d.fault(key+".cert_file", "%v", err)
		return false
	}
	return true
}
