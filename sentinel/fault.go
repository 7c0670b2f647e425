package sentinel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"holdfast/config"
)

// unheard is a server that was reached, and of which not a word was heard.
type unheard struct {
	err     error
	text    string
	hint    string // what an operator may look at, "" or in brackets
	secured bool   // it was to speak TLS
}

func (u *unheard) Error() string { return u.text + u.hint }

// Is and As look into the cause. There is no Unwrap, since go-redis would use it
// and throw away the rest.
func (u *unheard) Is(target error) bool { return errors.Is(u.err, target) }
func (u *unheard) As(target any) bool   { return errors.As(u.err, target) }

// Unheard puts into words why a TLS handshake failed, or why a connection ended
// before the first reply. Whether TLS is spoken must be the same on both sides,
// and neither says so when it is not. The words are the same each time. key is
// where t is in the configuration.
func Unheard(t config.ClientTLS, key string, err error) error {
	u := &unheard{err: err, text: Bare(err).Error(), secured: t.Enabled}
	var alien tls.RecordHeaderError
	var invalid x509.CertificateInvalidError
	switch {
	case !t.Enabled && gone(err):
		u.text = "it closed the connection before it said anything"
		u.hint = fmt.Sprintf(" (does it want TLS? %s)", key)
	case !t.Enabled:
		return err
	case gone(err):
		// In TLS there is no reply before the handshake: a server with too many
		// clients closes the connection. And the alert about a certificate that is
		// not wanted may be lost with what was sent meanwhile.
		u.text = "it closed the connection before TLS was agreed on"
		u.hint = fmt.Sprintf(" (has it too many clients, or does it want another certificate? %s)", key)
	case silent(err), errors.As(err, &alien):
		u.hint = fmt.Sprintf(" (does it speak TLS? %s)", key)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		u.text = fmt.Sprintf("its certificate, or one that it was signed with, is valid from %s to %s", // Go's words have the time of day in them
			invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	}
	if t.Enabled {
		u.text = "TLS: " + u.text
	}
	return u
}

// hintOf is what an operator may look at, "" if there is nothing.
func hintOf(err error) string {
	var u *unheard
	if errors.As(err, &u) {
		return u.hint
	}
	return ""
}

// unagreed says whether the error is that the other side is there, and no TLS could
// be agreed on with it.
func unagreed(err error) bool {
	var u *unheard
	return errors.As(err, &u) && u.secured
}

// Bare strips the repetition of addresses that net puts around an error, and with
// it the port, which is another one each time.
func Bare(err error) error {
	var u *unheard
	if errors.As(err, &u) {
		return u
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Net != "" { // an alert of TLS has none, and says whose it is
		return op.Err
	}
	return err
}

// answered says whether the error is an error reply: the server is there.
func answered(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// silent says whether the error is that nobody answered in time, or that packets
// do not get there: the other side may be there and busy.
func silent(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// gone says whether the error is that the other side refused or closed the
// connection.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, errSpent)
}
