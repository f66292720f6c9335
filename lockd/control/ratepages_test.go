package control

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

func TestRatesFitTheirMessages(t *testing.T) {
	c := usual()
	c.RateGeneration = math.MaxUint64
	for i := range c.RateQuotas {
		c.RateQuotas[i] = math.MaxUint64
	}
	h := open(t, c)
	o := h.connect()
	const many = imsg.RatePage + 5
	ident := strings.Repeat("i", locks.MaxIdent)
	for i := range many {
		u := rates.Use{Client: fmt.Sprintf("2001:db8:aaaa:%x::-%s", i+0x1000, ident), Amount: math.MaxUint64}
		for u.Counter = range imsg.RateCounters {
			h.Rates.Judge(&u)
		}
		u.Counter = imsg.RateTargets
		for j := range rates.MaxTargets {
			h.ahead.Add(1)
			u.Target = netip.MustParseAddrPort(fmt.Sprintf("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:%x]:25", j+0x1000))
			h.Rates.Judge(&u)
		}
	}
	seen := 0
	for after, more := "", true; more; {
		l := ask(t, o, &imsg.Rates{After: after})
		seen += len(l.Records)
		after, more = l.Records[len(l.Records)-1].Client, l.More
		r := ask(t, o, &imsg.RateShow{Client: after})
		if len(r.Targets) != rates.MaxTargets {
			t.Errorf("%d targets", len(r.Targets))
		}
		for i := 1; i < len(r.Targets); i++ {
			if r.Targets[i].Last > r.Targets[i-1].Last {
				t.Error("targets are not ordered")
			}
		}
	}
	if seen != many {
		t.Errorf("%d records", seen)
	}
}
