// How records of rates look.

package main

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// rate is a RateEntry as it is printed: its fields are the JSON form.
type rate struct {
	Client     string           `json:"client"`
	Network    string           `json:"network,omitempty"` // the client, if it is one
	Damaged    bool             `json:"damaged"`
	Own        bool             `json:"own_quotas"`
	Generation uint64           `json:"generation"`
	Cleared    time.Time        `json:"cleared,omitzero"`
	Expires    time.Time        `json:"expires,omitzero"`
	Counters   map[string]usage `json:"counters"`
	Remembered int              `json:"servers_remembered"`
	Servers    []server         `json:"servers,omitempty"` // of one record
}

// usage is one counter of a client.
type usage struct {
	Used  uint64 `json:"used"`
	Tries uint64 `json:"tries"`
	Quota uint64 `json:"quota"` // 0: off
}

// server is one that a client has called.
type server struct {
	Address string    `json:"address"`
	Last    time.Time `json:"last"`
}

func newRate(e *imsg.RateEntry) *rate {
	r := &rate{
		Client: e.Client, Damaged: e.Damaged, Own: e.Own, Generation: e.Generation,
		Cleared: moment(e.Cleared), Expires: moment(e.Expires), Counters: map[string]usage{}, Remembered: e.Targets,
	}
	address, ident, found := strings.Cut(r.Client, "-")
	if a, err := netip.ParseAddr(address); err == nil && e.Bits < a.BitLen() {
		r.Network = netip.PrefixFrom(a, e.Bits).String()
		if found {
			r.Network += "-" + ident
		}
	}
	if e.Damaged || len(e.Quotas) != int(imsg.RateCounters) || len(e.Used) != len(e.Quotas) || len(e.Tries) != len(e.Quotas) {
		r.Damaged = true
		return r
	}
	for c := range imsg.RateCounters {
		r.Counters[c.String()] = usage{e.Used[c], e.Tries[c], e.Quotas[c]}
	}
	return r
}

// rates asks for all of them. A period of 0 says that nothing is limited.
func (c *control) rates() (list []*rate, period time.Duration, err error) {
	list = []*rate{}
	err = allPages(c, "rates", func(after string) (keys []string, more bool, err error) {
		page, err := ask(c, &imsg.Rates{After: after}, answerTime)
		if err != nil {
			return nil, false, err
		}
		period = time.Duration(page.Period)
		for i := range page.Records {
			list = append(list, newRate(&page.Records[i]))
			keys = append(keys, page.Records[i].Client)
		}
		return keys, page.More, nil
	})
	return list, period, err
}

// name is the client as people see it.
func (r *rate) name() string { return or(r.Network, r.Client) }

// ends words when a client's period ends.
func (r *rate) ends(now time.Time) string {
	switch {
	case r.Expires.IsZero():
		return "-"
	case r.Expires.Before(now):
		return "at its next use"
	}
	return "in " + span(r.Expires.Sub(now))
}

func amount(counter imsg.Rate, n uint64) string {
	if (counter == imsg.RateBytes || counter == imsg.RateTLSBytes) && n < 1<<63 {
		return octets(int64(n))
	}
	return strconv.FormatUint(n, 10)
}

// share words how much of a quota is used.
func (r *rate) share(counter imsg.Rate) string {
	u := r.Counters[counter.String()]
	if u.Quota == 0 {
		return "-"
	}
	return amount(counter, u.Used) + " of " + amount(counter, u.Quota)
}

const rateOff = "rate limits are off: rate.period is 0"

func printRates(w io.Writer, list []*rate, period time.Duration, now time.Time) error {
	if period == 0 {
		fmt.Fprintln(w, rateOff)
	}
	if len(list) == 0 {
		if period == 0 {
			return nil
		}
		_, err := fmt.Fprintln(w, "no clients are counted")
		return err
	}
	tw := columns(w)
	fmt.Fprintln(tw, "CLIENT\tCONNECTIONS\tMESSAGES\tRECIPIENTS\tOCTETS\tMAIL REFUSED\tRCPT REFUSED\tAUTH REFUSED\tTLS SESSIONS\tTLS OCTETS\tTLS SERVERS\tSERVERS\tENDS\tQUOTAS")
	for _, r := range list {
		if r.Damaged {
			fmt.Fprintf(tw, "%s\tdamaged: the client is refused until `rate reset`\n", r.name())
			continue
		}
		fmt.Fprintf(tw, "%s\t", r.name())
		for c := range imsg.RateCounters {
			fmt.Fprintf(tw, "%s\t", r.share(c))
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\n", r.Remembered, r.ends(now), r.whose())
	}
	return tw.Flush()
}

// whose tells whose quotas a client has.
func (r *rate) whose() string {
	if r.Own {
		return "its own"
	}
	return "everybody's"
}

func printRate(w io.Writer, r *rate, now time.Time) error {
	tw := columns(w)
	fmt.Fprintf(tw, "client\t%s\n", r.name())
	if r.Damaged {
		fmt.Fprintln(tw, "record\tdamaged: the client is refused until `rate reset`")
		return tw.Flush()
	}
	until := fmt.Sprintf("generation %d", r.Generation)
	if r.Generation == math.MaxUint64 {
		until = "which no generation ends"
	}
	fmt.Fprintf(tw, "quotas\t%s, %s\n", r.whose(), until)
	fmt.Fprintf(tw, "period\tsince %s, ends %s\n", stamp(r.Cleared), r.ends(now))
	if err := tw.Flush(); err != nil {
		return err
	}
	tw = columns(w)
	fmt.Fprintln(tw, "\nCOUNTER\tUSED\tTRIES\tQUOTA")
	for c := range imsg.RateCounters {
		u := r.Counters[c.String()]
		quota := "off"
		if u.Quota > 0 {
			quota = strconv.FormatUint(u.Quota, 10)
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\n", c, u.Used, u.Tries, quota)
	}
	if len(r.Servers) > 0 {
		fmt.Fprintln(tw, "\nSERVER\tLAST CALLED")
		for _, s := range r.Servers {
			fmt.Fprintf(tw, "%s\t%s ago\n", s.Address, span(now.Sub(s.Last)))
		}
	}
	return tw.Flush()
}
