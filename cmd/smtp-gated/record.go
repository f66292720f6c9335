// -L: what a running daemon remembers of one client. The room that keeps the
// records is asked over a control socket: nobody else may read the store.
//
// The lines are KEY: VALUE, and stay what they are; new ones may come.

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

const recordWithin = 10 * time.Second

// printRecord asks at a control socket for what is remembered of a client.
func printRecord(w io.Writer, record string, sockets ...string) error {
	client := clientOf(record)
	c, err := link.Dial(sockets...)
	if err != nil {
		return err
	}
	defer c.Close()
	go c.Serve(func(r link.Request) { r.Close() })
	r, err := link.Ask(c, &imsg.RateShow{Client: client}, recordWithin)
	switch err {
	case nil:
		if r.NoClient != "" {
			return fmt.Errorf("%q names no client: %s", record, r.NoClient)
		}
	case imsg.NotFound:
		return fmt.Errorf("nothing is remembered of %s", client)
	case imsg.Off:
		return fmt.Errorf("rate limits are off: rate.period is 0")
	default:
		return fmt.Errorf("ask for the record of %s: %w", client, err)
	}
	return writeRecord(w, r)
}

// clientOf takes the old daemon's name of a record, a file in ratelimit_path.
func clientOf(record string) string {
	if base := filepath.Base(record); strings.Contains(record, "/") && strings.ContainsAny(base, ".:") {
		return base
	}
	return record // a network has a slash, too: 2001:db8::/64
}

func writeRecord(w io.Writer, m *imsg.RateRecord) error {
	e := &m.Entry
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, "%s: %v\n", key, value) }
	line("client", e.Client)
	line("bits", e.Bits)
	if e.Damaged || len(e.Quotas) != int(imsg.RateCounters) || len(e.Used) != len(e.Quotas) || len(e.Tries) != len(e.Quotas) {
		line("damaged", "yes")
		_, err := io.WriteString(w, b.String())
		return err
	}
	line("damaged", "no")
	quotas := "configuration"
	if e.Own {
		quotas = "own"
	}
	line("quotas", quotas)
	line("generation", e.Generation)
	at := func(key string, nanoseconds int64) {
		unix, text := int64(0), "never"
		if nanoseconds != 0 {
			t := time.Unix(0, nanoseconds)
			unix, text = t.Unix(), t.Format(time.ANSIC)
		}
		line(key+".unix", unix)
		line(key+".string", text)
	}
	at("cleared", e.Cleared)
	at("expires", e.Expires)
	for c := range imsg.RateCounters {
		line(c.String()+".used", e.Used[c])
		line(c.String()+".tries", e.Tries[c])
		line(c.String()+".quota", e.Quotas[c])
	}
	line("targets", len(m.Targets))
	for i, t := range m.Targets {
		line(fmt.Sprintf("target.%d.ip", i), t.Address)
		at(fmt.Sprintf("target.%d.last", i), t.Last)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
