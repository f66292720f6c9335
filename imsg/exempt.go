// Exemptions: what an operator spares a client of for a while, without a change of the
// configuration. This file owns which checks that may be. The scan for viruses is none of
// them: nobody is ever spared that.

package imsg

import (
	"strings"
	"time"
)

// Exempt is a check that an exemption spares a client, or those who call a server.
type Exempt uint8

// The checks.
const (
	ExemptLock Exempt = iota
	ExemptLimit
	ExemptRate
	ExemptDNSBL
	ExemptSPF
	ExemptRegex
	ExemptEarlyTalk
	ExemptSpam
	Exempts // how many there are
)

var exemptNames = [Exempts]string{
	ExemptLock:      "lock",
	ExemptLimit:     "limit",
	ExemptRate:      "rate",
	ExemptDNSBL:     "dnsbl",
	ExemptSPF:       "spf",
	ExemptRegex:     "regex",
	ExemptEarlyTalk: "earlytalk",
	ExemptSpam:      "spam",
}

func (e Exempt) String() string { return exemptNames[e%Exempts] }

// ExemptSet is a set of checks.
type ExemptSet uint8

// UsualExempts are those of an exemption that names none.
const UsualExempts = ExemptSet(1<<ExemptLock | 1<<ExemptLimit | 1<<ExemptRate | 1<<ExemptDNSBL | 1<<ExemptEarlyTalk)

// AllExempts is every check that there is.
const AllExempts = ExemptSet(1<<Exempts - 1)

// Has tells whether e is in the set.
func (s ExemptSet) Has(e Exempt) bool { return s&(1<<e) != 0 }

// With is the set and e.
func (s ExemptSet) With(e Exempt) ExemptSet { return s | 1<<e }

// Names are the checks of the set.
func (s ExemptSet) Names() (names []string) {
	for e := range Exempts {
		if s.Has(e) {
			names = append(names, e.String())
		}
	}
	return names
}

func (s ExemptSet) String() string { return strings.Join(s.Names(), ",") }

// ParseExempt is the inverse of String.
func ParseExempt(name string) (Exempt, bool) {
	for e, n := range exemptNames {
		if n == name {
			return Exempt(e), true
		}
	}
	return 0, false
}

const (
	// MaxExemptReason is how many octets the reason of an exemption has at most.
	MaxExemptReason = 200
	// ExemptPage is the largest number of exemptions in one ExemptionList.
	ExemptPage = 128
	// MaxExemptTime is how long one lasts at most that does not last for ever.
	MaxExemptTime = 87600 * time.Hour
)

// Exemption is one that is in force.
type Exemption struct {
	Who    string `rule:"1..255 word"` // an address, a network, server=ADDRESS or login=LOGIN
	From   ExemptSet
	Since  int64  `rule:"0.."`
	Until  int64  `rule:"0.."` // 0: for ever
	Reason string `rule:"..MaxExemptReason printable"`
}

// ExemptAdd asks to exempt somebody, in the place of an exemption that there may be. Wide
// says that a network of more than a hundredth of all addresses is meant.
type ExemptAdd struct {
	Who    string `rule:"..MaxWord free: parsed as whom an exemption is for"`
	From   ExemptSet
	For    time.Duration `rule:"0..87600h"` // 0: for ever
	Reason string        `rule:"..MaxExemptReason printable"`
	Wide   bool
}

func (*ExemptAdd) answer(*Done) {}

// ExemptRemove asks to end an exemption.
type ExemptRemove struct {
	Who string `rule:"..MaxWord free: parsed as whom an exemption is for"`
}

func (*ExemptRemove) answer(*Done) {}

// Exemptions asks for those in force whose Who sorts behind After.
type Exemptions struct {
	After string `rule:"..255 free: those behind it are looked up"`
}

func (*Exemptions) answer(*ExemptionList) {}

// ExemptionList answers Exemptions, ordered by Who.
type ExemptionList struct {
	Exemptions []Exemption `rule:"..ExemptPage"`
	More       bool
}

// ExemptFile hands lockd the file that keeps exemptions, open for reading and writing.
type ExemptFile struct{}

func (*ExemptFile) notice() {}
