//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// class is one kind of load. Endpoints are compared within a class only.
type class struct {
	name     string
	title    string
	command  string  // GET or SET
	size     int     // bytes of a value
	conns    int     // busy connections
	pipeline int     // commands per batch; the next batch leaves when all are answered
	rate     float64 // commands per second of all connections together (open loop); 0: closed loop
	idle     int     // connections that do one PING and then nothing
	off      bool    // only when named, or with -long
}

func (c class) script() *script { return newScript(c.command, c.size, c.pipeline) }

func get(name, title string, size, conns, pipeline int) class {
	return class{name: name, title: title, command: "GET", size: size, conns: conns, pipeline: pipeline}
}

// classes in the order in which they run. The small value is 64 bytes.
var classes = []class{
	get("c1", "GET 64 B, 1 connection", 64, 1, 1),
	get("c50", "GET 64 B, 50 connections", 64, 50, 1),
	get("c500", "GET 64 B, 500 connections", 64, 500, 1),
	get("p16", "GET 64 B, 50 connections, pipeline 16", 64, 50, 16),
	get("p100", "GET 64 B, 50 connections, pipeline 100", 64, 50, 100),
	{name: "set", title: "SET 64 B, 50 connections", command: "SET", size: 64, conns: 50, pipeline: 1},
	get("1k", "GET 1 KiB, 50 connections", 1<<10, 50, 1),
	get("16k", "GET 16 KiB, 50 connections", 16<<10, 50, 1),
	get("64k", "GET 64 KiB, 20 connections", 64<<10, 20, 1),
	get("256k", "GET 256 KiB, 10 connections", 256<<10, 10, 1),
	get("1m", "GET 1 MiB, 10 connections", 1<<20, 10, 1),
	{name: "open", title: "GET 64 B, open loop, 10 000/s over 50 connections (Poisson, latency from the due time)",
		command: "GET", size: 64, conns: 50, pipeline: 1, rate: 10_000},
	idleClass("idle5k", 5_000, false),
	idleClass("idle15k", 15_000, true),
}

func idleClass(name string, idle int, off bool) class {
	return class{name: name, title: fmt.Sprintf("%d idle connections, then 50 busy ones on top (GET 64 B)", idle),
		command: "GET", size: 64, conns: 50, pipeline: 1, idle: idle, off: off}
}

// chooseClasses picks those that a comma list names; an empty list picks all
// that are not off.
func chooseClasses(list string, long bool) ([]class, error) {
	if list == "" {
		return slices.DeleteFunc(slices.Clone(classes), func(c class) bool { return c.off && !long }), nil
	}
	var chosen []class
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(classes, func(c class) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no class %q; there are %s", name, classNames())
		}
		chosen = append(chosen, classes[i])
	}
	return chosen, nil
}

func classNames() string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
