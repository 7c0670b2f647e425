package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// A configuration is a page, a password a line. Whoever names a device or a
// disk image by mistake is told so instead of filling the memory.
const (
	maxFile   = 1 << 20
	maxSecret = 64 << 10
)

// Load reads the configuration in the file at path and what the environment
// adds to it. An empty path means the environment alone. The error names every
// fault, one a line, each beginning with the path of its key.
func Load(path string) (*Config, error) {
	if path == "" {
		return Parse(nil, os.LookupEnv)
	}
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	return Parse(data, os.LookupEnv)
}

// Parse is Load with the file's content and an environment at hand; without
// lookup there is no environment. It reads password files, relative to the
// working directory, and the addresses of the network interfaces where a
// template asks for them.
func Parse(data []byte, lookup func(name string) (value string, ok bool)) (*Config, error) {
	root, err := document(data)
	if err != nil {
		return nil, err
	}
	d := draft{Config: Default(), origin: make(map[string]string), faulty: make(map[string]bool)}
	if root != nil {
		d.decodeStruct("", root, reflect.ValueOf(&d.Config).Elem())
	}
	if lookup != nil {
		d.fillFrom(lookup)
	}
	d.readSecrets()
	d.check()
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	return &d.Config, nil
}

// A draft is a configuration that is still being read. Keys are written as
// paths: listeners[0].mode.
type draft struct {
	Config
	origin map[string]string // key -> the line or variable that gave it; only keys that were given
	faulty map[string]bool   // keys that have a fault already
	faults []error
}

// fault notes what is wrong with key and where it was said. Only the first
// fault of a key counts: whatever else is wrong with it, or with a key under
// it, follows from that one.
func (d *draft) fault(key, format string, args ...any) {
	for k := range upward(key) {
		if d.faulty[k] {
			return
		}
	}
	d.faulty[key] = true
	d.faults = append(d.faults, errors.New(key+": "+fmt.Sprintf(format, args...)+d.where(key)))
}

// where says, in brackets, which line or variable gave key, or the nearest key
// above it that was given at all.
func (d *draft) where(key string) string {
	for k := range upward(key) {
		if at := d.origin[k]; at != "" {
			return " (" + at + ")"
		}
	}
	return ""
}

// upward is key and every key above it.
func upward(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(key) {
			i := strings.LastIndexAny(key, ".[")
			if i < 0 {
				return
			}
			key = key[:i]
		}
	}
}

// document is the only document in data; nil if there is none.
func document(data []byte) (*yaml.Node, error) {
	var root, next yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&root); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, syntaxError(err)
	}
	// A decoder stops after one document and would ignore whatever follows.
	if err := decoder.Decode(&next); err == nil {
		return nil, fmt.Errorf("a second document begins (line %d); a configuration is one document", next.Line)
	} else if err != io.EOF {
		return nil, syntaxError(err)
	}
	content := root.Content[0]
	switch {
	case content.Kind == yaml.MappingNode:
		return content, nil
	case content.Kind == yaml.ScalarNode && content.ShortTag() == "!!null":
		return nil, nil
	}
	return nil, fmt.Errorf("not a configuration: that is a mapping, lines of key: value (line %d)", content.Line)
}

// syntaxError tells it to an operator. An unquoted password that begins with a
// star is YAML for "the value of the anchor so named", and the parser's own
// text would print it.
func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") {
		text = "a value that begins with * stands for an anchor, and there is none of this name; if it is text, put quotes around it"
	}
	return errors.New("not YAML: " + text)
}

// readFile is what is in the file at path, if it is no longer than limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is longer than %v", path, Size(limit))
	}
	return data, nil
}
