package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The file is parsed by yaml.v3 and decoded here. Its own decoder knows no
// paths, speaks of Go types, forgets to be strict inside custom hooks
// (Node.Decode starts a new decoder) and clears the defaults of list elements.

// decode sets v, which holds its default, from n, given in this line. A null
// leaves the default and counts as not given. The types of a Config do not
// contain themselves, so an anchor inside its own value cannot make this
// endless.
func (d *draft) decode(key string, line int, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Anchor == "" {
		return
	}
	d.origin[key] = lineOf(line)
	switch t := v.Addr().Interface().(type) {
	case *netip.Addr: // its own text form knows neither templates nor operators
		if text, ok := d.text(key, n); ok {
			d.decodeIP(key, text, t)
		}
		return
	case *Command:
		if n.Kind == yaml.ScalarNode {
			if text, ok := d.text(key, n); ok {
				*t = strings.Fields(text)
			}
			return
		}
	case encoding.TextUnmarshaler:
		if text, ok := d.text(key, n); ok {
			if err := t.UnmarshalText([]byte(text)); err != nil {
				d.fault(key, "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(key, n, v)
	case reflect.Slice:
		d.decodeList(key, n, v)
	case reflect.Map:
		d.decodeMap(key, n, v)
	case reflect.String:
		if text, ok := d.text(key, n); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		if n.Decode(v.Addr().Interface()) != nil {
			d.fault(key, "must be true or false")
		}
	case reflect.Int:
		if n.Decode(v.Addr().Interface()) != nil {
			d.fault(key, "must be a whole number")
		}
	}
}

func (d *draft) decodeStruct(key string, n *yaml.Node, v reflect.Value) {
	names, fields := keysOf(v)
	d.eachKey(key, n, func(name, value *yaml.Node) {
		at := keyUnder(key, name.Value)
		if field, ok := fields[name.Value]; ok {
			d.decode(at, name.Line, value, field)
			return
		}
		d.origin[at] = lineOf(name.Line)
		d.fault(at, "there is no such key; known here: %s", strings.Join(names, ", "))
	})
}

func (d *draft) decodeMap(key string, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.eachKey(key, n, func(name, value *yaml.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(entryOf(key, name.Value), name.Line, value, element)
		v.SetMapIndex(reflect.ValueOf(name.Value), element)
	})
}

func (d *draft) decodeList(key string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fault(key, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		switch element := v.Index(i).Addr().Interface().(type) {
		case *Listener:
			*element = DefaultListener()
		case *VIP:
			*element = DefaultVIP()
		}
		d.decode(elementOf(key, i), item.Line, item, v.Index(i))
	}
}

// eachKey calls put for every key of the mapping n. A key that is given twice
// or is no text is a fault.
func (d *draft) eachKey(key string, n *yaml.Node, put func(name, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(key, "must be a mapping, lines of key: value")
		return
	}
	first := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := keyUnder(key, name.Value)
		switch line := first[name.Value]; {
		case name.Kind != yaml.ScalarNode:
			at = keyUnder(key, "?")
			d.origin[at] = lineOf(name.Line)
			d.fault(at, "a key must be plain text")
		case line != 0:
			d.origin[at] = lineOf(name.Line)
			d.fault(at, "given twice, before in line %d", line)
		default:
			first[name.Value] = name.Line
			put(name, value)
		}
	}
}

// text is what stands in a scalar, however YAML would read it: a password of
// 0123 stays as it is written. The fault does not repeat the value: it may be
// one.
func (d *draft) text(key string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.fault(key, "must be a single value")
		return "", false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n.Value, true
	}
	d.fault(key, "begins with a sign that means something else in YAML; put quotes around it")
	return "", false
}

// keysOf gives v's fields by their keys, those of inlined structs included,
// and the keys in the order of the fields.
func keysOf(v reflect.Value) (names []string, fields map[string]reflect.Value) {
	fields = make(map[string]reflect.Value)
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			inner, innerFields := keysOf(v.Field(i))
			names = append(names, inner...)
			for _, name := range inner {
				fields[name] = innerFields[name]
			}
			continue
		}
		names = append(names, name)
		fields[name] = v.Field(i)
	}
	return names, fields
}

// keyUnder is the path of name under key. A name that no key of ours could
// have is quoted, lest it pass for a path of its own.
func keyUnder(key, name string) string {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

// elementOf is the path of an element of a list.
func elementOf(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// entryOf is the path of an entry of a map.
func entryOf(key, name string) string {
	return key + "[" + strings.Trim(strconv.Quote(name), `"`) + "]"
}

func lineOf(line int) string { return fmt.Sprintf("line %d", line) }
