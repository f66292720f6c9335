// Lists that the daemon tells page by page, and what shows them. This file owns that a list
// comes to an end, whatever the daemon says.

package main

import (
	"cmp"
	"fmt"
	"io"
)

// show has a live daemon say something, and prints it: as JSON, or for people.
func show[T any](t *tool, find func(*control) (T, error), print func(io.Writer, T) error) error {
	c, err := t.look()
	if err != nil {
		return err
	}
	defer c.Close()
	found, err := find(c)
	switch {
	case err != nil:
		return err
	case t.json:
		return printJSON(t.out, found)
	}
	return print(t.out, found)
}

// allPages has a list asked for until there is no more of it. page asks for what lies behind
// a key, takes it, and returns its keys, which are in order.
func allPages[K cmp.Ordered](c *control, what string, page func(after K) (keys []K, more bool, err error)) error {
	var after K
	for n := 0; ; {
		keys, more, err := page(after)
		if err != nil {
			return fmt.Errorf("ask for the %s: %w", what, err)
		}
		for _, key := range keys {
			if key <= after {
				return fmt.Errorf("ask for the %s: %v came behind %v", what, key, after)
			}
			after = key
		}
		if n += len(keys); !more || len(keys) == 0 {
			return nil
		}
		if n > c.longest {
			return fmt.Errorf("ask for the %s: %w", what, errEndless)
		}
	}
}
