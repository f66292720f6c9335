// Log-ins (RFC 4954): as whom a server has taken a client, and what names a login has.

package imsg

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// MaxLogin is the largest number of octets of a login as Login writes it.
const MaxLogin = 200

// OfLogin begins the name of what is a login's, as a lock file's. No address does.
const OfLogin = "login="

// longLogin begins what stands for a login that is too long. No other holds a "=".
const longLogin = "sha256="

// Login is a name that a client gave, in the one form in which it is shown, and names
// files: ASCII in lower case, each octet that is not one of a-z, 0-9 and ".-_@" as %XX,
// and if that is too long its SHA-256. Different names have different ones, but for the
// case of ASCII. An empty name stays empty.
func Login(name []byte) string {
	var b strings.Builder
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if plainLogin(c) {
			b.WriteByte(c)
		} else {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	if b.Len() > MaxLogin {
		sum := sha256.Sum256([]byte(b.String()))
		return longLogin + hex.EncodeToString(sum[:])
	}
	return b.String()
}

func plainLogin(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == '@'
}

// ParseLogin reads a login as an operator says it: as Login writes it, or as it is. ok is
// false for what can be none.
func ParseLogin(text string) (login string, ok bool) {
	if text == "" || len(text) > MaxWord {
		return "", false
	}
	if IsLogin(text) {
		return text, true
	}
	return Login([]byte(text)), true
}

// IsLogin tells whether a text is as Login writes one.
func IsLogin(text string) bool {
	if sum, long := strings.CutPrefix(text, longLogin); long {
		return len(sum) == 2*sha256.Size && strings.Trim(sum, "0123456789abcdef") == ""
	}
	if text == "" || len(text) > MaxLogin {
		return false
	}
	for i := 0; i < len(text); i++ {
		if plainLogin(text[i]) {
			continue
		}
		if text[i] != '%' || i+2 >= len(text) {
			return false
		}
		octet, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil || Login(octet) != text[i:i+3] {
			return false
		}
		i += 2
	}
	return true
}

// LoginTaken tells that a server has taken a session's log-in, and asks whether its login
// is locked, or has too many sessions.
type LoginTaken struct {
	Number uint64 `rule:"any: looked up among the sender's sessions"`
	Login  string `rule:"..MaxLogin login"` // as Login writes it, empty if its mechanism tells none
}

func (*LoginTaken) answer(*LoginResult) {}

// LoginResult answers LoginTaken: Admitted, RefusedLocked or RefusedLogin.
type LoginResult struct {
	Refusal Refusal
	Would   PolicyRuleSet // rules of policy.monitor that would have refused it
	Uses    RateSet       // counters the login has a quota of, from now on
	Exempt  ExemptSet     // what its worker is to spare the session from now on
}

// By is whose lock, or whose record of rates, a session of a login has.
type By uint8

// The words of lock.by and rate.by.
const (
	ByAddress By = iota // that of its address, or of the client that a router names
	ByLogin             // that of its login, if it has one
	ByBoth              // both
)
