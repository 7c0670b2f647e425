package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/internal/redistest"
)

// data is the final truth: what the node that the Sentinels agree on holds, read
// on a connection of its own that passes no endpoint.
type data struct {
	conn *conn
	db   string
}

// dataTimeout bounds one question.
const dataTimeout = 10 * time.Second

func openData(ctx context.Context, n *redistest.Node) (*data, error) {
	nc, err := n.Host.DialContext(ctx, "tcp", n.Addr)
	if err != nil {
		return nil, fmt.Errorf("final data of %s: %w", n, err)
	}
	return &data{conn: newConn(nc)}, nil
}

func (d *data) close() { d.conn.close() }

func (d *data) do(args ...string) (reply, error) {
	r, err := d.conn.do(dataTimeout, args...)
	if err == nil && r.failed() {
		err = fmt.Errorf("%s", r.text)
	}
	if err != nil {
		return r, fmt.Errorf("final data, %s: %w", args[0], err)
	}
	return r, nil
}

// use selects a database; "" is 0.
func (d *data) use(db string) error {
	if d.db == db {
		return nil
	}
	number := db
	if number == "" {
		number = "0"
	}
	_, err := d.do("SELECT", number)
	d.db = db
	return err
}

// list returns the elements of a list, none if there is none.
func (d *data) list(db, key string) ([]string, error) {
	if err := d.use(db); err != nil {
		return nil, err
	}
	r, err := d.do("LRANGE", key, "0", "-1")
	return texts(r), err
}

// values returns the values of string keys, "" for one that does not exist.
func (d *data) values(db string, keys []string) ([]string, error) {
	if err := d.use(db); err != nil {
		return nil, err
	}
	var values []string
	for some := range slices.Chunk(keys, 500) {
		r, err := d.do(append([]string{"MGET"}, some...)...)
		if err != nil {
			return nil, err
		}
		values = append(values, texts(r)...)
	}
	return values, nil
}

func texts(r reply) []string {
	all := make([]string, len(r.elems))
	for i, e := range r.elems {
		all[i] = e.text
	}
	return all
}

// left returns the ids that a series has left in its place, in their order.
func (d *data) left(s *series) ([]string, error) {
	if !s.spread {
		return d.list(s.db, s.key)
	}
	ids := make([]string, len(s.writes))
	for i, w := range s.writes {
		ids[i] = w.id
	}
	values, err := d.values(s.db, ids)
	return slices.DeleteFunc(values, func(v string) bool { return v == "" }), err
}

// astray returns the ids of a series that are in database 0 but should not be.
func (d *data) astray(s *series) ([]string, error) {
	if s.db == "" {
		return nil, nil
	}
	return d.list("", s.key)
}
