package rates

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// quotas is a number for each counter.
type quotas [imsg.RateCounters]uint64

// rules is what the configuration says of rate limits. It is not changed once it is
// made.
type rules struct {
	period       time.Duration // 0: no limits
	targetPeriod time.Duration // negative: any number of servers
	generation   uint64
	quotas       quotas
}

func newRules(c *imsg.LockdConfig) *rules {
	r := &rules{period: c.RateExpiration, targetPeriod: c.RateDstExpiration, generation: c.RateGeneration}
	copy(r.quotas[:], c.RateQuotas)
	return r
}
