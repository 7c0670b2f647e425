package config

import (
	"fmt"
	"io"
	"strings"
)

// Secret is a password. It shows itself as stars to fmt, JSON and YAML;
// string(s) is the password itself.
type Secret string

// String is "***", or empty when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format is String under every verb: with String alone, %d would print the
// password within its complaint. Beyond any type's reach are %p and %w, which
// go vet refuses.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String, for YAML and JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecrets puts every password where it is used, from its file if it has
// one.
func (d *draft) readSecrets() {
	d.readSecret("sentinel.", &d.Sentinel.Password, d.Sentinel.PasswordFile)
	d.readSecret("redis.", &d.Redis.Password, d.Redis.PasswordFile)
	for i := range d.Listeners {
		l := &d.Listeners[i]
		d.readSecret(listenerKey(i, "redis."), &l.Redis.Password, l.Redis.PasswordFile)
		d.readSecret(listenerKey(i, ""), &l.Password, l.PasswordFile)
	}
	for i := range d.VIP {
		d.readSecret(vipKey(i, ""), &d.VIP[i].Password, d.VIP[i].PasswordFile)
	}
}

// readSecret fills password from file, if one is given. Line breaks at the end
// of a file are its editor's, not the password's; any other comes of a block
// scalar, of echo or of the wrong file, and no client could present it.
func (d *draft) readSecret(under string, password *Secret, file string) {
	key := under + "password"
	if file != "" {
		key = under + "password_file"
		if *password != "" {
			d.fault(key, "given together with %spassword%s; keep one", under, d.where(under+"password"))
			return
		}
		data, err := readFile(file, maxSecret)
		if err != nil {
			d.fault(key, "%v", err)
			return
		}
		*password = Secret(strings.TrimRight(string(data), "\r\n"))
		if *password == "" {
			d.fault(key, "%s is empty", file)
		}
	}
	if strings.ContainsAny(string(*password), "\r\n") {
		d.fault(key, "has a line break in it; a password is one line")
	}
}
