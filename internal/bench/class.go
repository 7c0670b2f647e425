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
	command  string  // GET, SET or mixed
	size     int     // bytes of a value
	conns    int     // busy connections
	pipeline int     // commands per batch; the next batch leaves when all are answered
	rate     float64 // commands per second of all connections together (open loop); 0: closed loop
	idle     int     // connections that do one PING and then nothing
	tls      bool    // clients speak TLS to the endpoint, which speaks to Redis in the clear
	constant bool    // of the endpoint that knows no data: every GET is answered with the value of key 0
}

// mixed is a class' command when one in ten is a transaction and one in ten a
// blocking command, which no connection shared by many can simply pass on.
const mixed = "mixed"

func get(name, title string, size, conns, pipeline int) class {
	return class{name: name, title: title, command: "GET", size: size, conns: conns, pipeline: pipeline}
}

// smallValue is the size, in bytes, of the classes that are about commands
// rather than about bytes.
const smallValue = 64

// classes in the order in which they run.
var classes = []class{
	get("c1", "GET 64 B, 1 connection", smallValue, 1, 1),
	get("c50", "GET 64 B, 50 connections", smallValue, 50, 1),
	get("c500", "GET 64 B, 500 connections", smallValue, 500, 1),
	get("p16", "GET 64 B, 50 connections, pipeline 16", smallValue, 50, 16),
	get("p100", "GET 64 B, 50 connections, pipeline 100", smallValue, 50, 100),
	{name: "set", title: "SET 64 B, 50 connections", command: "SET", size: smallValue, conns: 50, pipeline: 1},
	get("1k", "GET 1 KiB, 50 connections", 1<<10, 50, 1),
	get("16k", "GET 16 KiB, 50 connections", 16<<10, 50, 1),
	get("64k", "GET 64 KiB, 20 connections", 64<<10, 20, 1),
	get("256k", "GET 256 KiB, 10 connections", 256<<10, 10, 1),
	get("1m", "GET 1 MiB, 10 connections", 1<<20, 10, 1),
	{name: "open", title: "GET 64 B, open loop, 10 000/s over 50 connections (Poisson, latency from the due time)",
		command: "GET", size: smallValue, conns: 50, pipeline: 1, rate: 10_000},
	{name: "mix", title: "50 connections: 80 % GET 64 B, 10 % MULTI GET EXEC in one write (counted as one command), 10 % BLMOVE of a list that is never empty",
		command: mixed, size: smallValue, conns: 50, pipeline: 1},
	idleClass("idle5k", 5_000),
	idleClass("idle15k", 15_000),
	overTLS(get("tls50", "GET 64 B, 50 connections with TLS", smallValue, 50, 1)),
	overTLS(get("tls500", "GET 64 B, 500 connections with TLS", smallValue, 500, 1)),
	overTLS(get("tls64k", "GET 64 KiB, 20 connections with TLS", 64<<10, 20, 1)),
}

func overTLS(c class) class {
	c.tls = true
	return c
}

func idleClass(name string, idle int) class {
	return class{name: name, title: fmt.Sprintf("%d idle connections, then 50 busy ones on top (GET 64 B)", idle),
		command: "GET", size: smallValue, conns: 50, pipeline: 1, idle: idle}
}

// chooseClasses picks those that a comma list names; an empty list picks all.
func chooseClasses(list string) ([]class, error) {
	if list == "" {
		return classes, nil
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
