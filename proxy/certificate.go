package proxy

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"holdfast/config"
)

// certificate is what clients are shown: it follows its files, since certificates
// are renewed more often than proxies are restarted.
type certificate struct {
	files config.ServerTLS
	log   zerolog.Logger

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	version string // of the files that were read last
	looked  time.Time
	fault   string // why the files that were read last cannot be used, "" if they can
}

// newCertificate reads the files. A certificate that has expired is shown all the
// same: some clients do not mind, and the others say what is wrong.
func newCertificate(files config.ServerTLS, log zerolog.Logger) (*certificate, error) {
	version := files.Version()
	pair, err := files.Certificate()
	if err != nil {
		return nil, err
	}
	if expires := pair.Leaf.NotAfter; time.Now().After(expires) {
		log.Warn().Str("file", files.CertFile).Time("expired", expires).Msg("the TLS certificate has expired")
	}
	return &certificate{files: files, log: log, pair: pair, version: version, looked: time.Now()}, nil
}

// lookEach is how often the files are looked at, while clients come.
const lookEach = time.Second

// now is the certificate to be shown. Files that cannot be used, because only one
// of them is new yet, leave the one before in force.
func (c *certificate) now() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.pair
}

// state is until when the certificate in force is valid, and what is wrong with the
// one that was to follow.
func (c *certificate) state() (expires time.Time, fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.pair.Leaf.NotAfter, c.fault
}

// look takes the files as they are now, if they are others than before.
func (c *certificate) look() {
	if time.Since(c.looked) < lookEach {
		return
	}
	c.looked = time.Now()
	version := c.files.Version()
	if version == c.version {
		return
	}
	c.version = version
	pair, err := c.files.Certificate()
	if err != nil {
		c.fault = err.Error()
		c.log.Error().Str("why", c.fault).Msg("the TLS certificate has changed and cannot be used; the one before stays in force")
		return
	}
	c.pair, c.fault = pair, ""
	c.log.Info().Str("file", c.files.CertFile).Msg("the TLS certificate has changed and is in force")
}
