package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"
)

func TestPasswordFile(t *testing.T) {
	for content, want := range map[string]Secret{
		"plain": "plain", "line\n": "line", "dos\r\n": "dos", "two\n\n": "two", " kept \t\n": " kept \t", "*&!#%\n": "*&!#%",
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("sentinel: {addresses: [s1:26379]}\nlisteners: [{address: ':1', master: m, redis: {password_file: %s}, password_file: %s}]\n", file, file)
		config, err := Parse([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if l := config.Listeners[0]; l.Password != want || l.Redis.Password != want {
			t.Errorf("%q gives %q and %q", content, string(l.Password), string(l.Redis.Password))
		}
	}
}

// %p and %w never ask a type how it wants to be shown; go vet refuses them for
// what is no pointer or error.
func TestSecretsAreNotShown(t *testing.T) {
	const password = "hunter2"
	login := Login{Username: "user", Password: password}
	config := Default()
	config.Redis, config.Sentinel.Login = Redis{Login: login}, login
	config.Listeners = []Listener{{Redis: login, Password: password}}

	var shown bytes.Buffer
	for _, value := range []any{
		config, &config, config.Sentinel, &config.Sentinel, login, &login, config.Listeners, config.Listeners[0],
		config.Masters(), login.Password, &login.Password, []Secret{password}, map[string]Secret{"key": password},
	} {
		for _, flag := range []string{"", "+", "#", "-20", "020", " ", ".3"} {
			for _, verb := range "vTtbcdoOqxXUeEfFgGsz" {
				fmt.Fprintf(&shown, "%"+flag+string(verb)+"\n", value)
			}
		}
		fmt.Fprintln(&shown, value)
		if text, err := yaml.Marshal(value); err != nil {
			t.Error(err)
		} else {
			shown.Write(text)
		}
		if text, err := json.Marshal(value); err != nil {
			t.Error(err)
		} else {
			shown.Write(text)
		}
		logger := zerolog.New(&shown)
		logger.Info().Interface("value", value).Any("any", value).Msg("")
		slog.New(slog.NewTextHandler(&shown, nil)).Info("", "value", value)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("", "value", value)
	}
	for _, form := range []string{password, fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), fmt.Sprintf("% x", password), password[:3]} {
		if at := strings.Index(shown.String(), form); at >= 0 {
			t.Errorf("%q is shown: %.200q", form, shown.String()[max(0, at-100):])
		}
	}
	if !strings.Contains(shown.String(), "***") {
		t.Error("nothing was shown at all")
	}
	if text := fmt.Sprint(Secret("")); text != "" {
		t.Errorf("no secret is shown as %q", text)
	}
}
