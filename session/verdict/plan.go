package verdict

import "github.com/smtp-gated/smtp-gated/imsg"

// This file owns who looks at a message.

// Reason says why a scanner does not look.
type Reason uint8

// The reasons. Zero is none: it looks.
const (
	Off      Reason = iota + 1
	LoggedIn        // auth_skip spares the session it
	Exempt          // an operator does
	Size            // the message is larger than it takes, or it takes none
	Load            // the machine is busier than spam_max_load
)

// Spared is what a session is spared.
type Spared struct {
	LoggedIn imsg.AuthSkip  // because its client has logged in
	Exempt   imsg.ExemptSet // because an operator says so
}

// Skip is a scanner that is on and does not look.
type Skip struct {
	Role   imsg.Roles
	Reason Reason
	Load   float64 // with Reason Load
}

// Plan is who looks at a message.
type Plan struct {
	Roles   imsg.Roles
	Skipped []Skip // virus before spam
}

// engine is what a configuration says of a role.
type engine struct {
	role   imsg.Roles
	skip   imsg.AuthSkip
	exempt imsg.ExemptSet // none for viruses
	on     func(*imsg.SessionConfig) bool
	size   func(*imsg.SessionConfig) int64
}

var engines = [...]engine{
	{
		imsg.RoleVirus, imsg.SkipAntivirus, 0,
		func(c *imsg.SessionConfig) bool { return c.Antivirus },
		func(c *imsg.SessionConfig) int64 { return c.ScanMaxSize },
	},
	{
		imsg.RoleSpam, imsg.SkipAntispam, 1 << imsg.ExemptSpam,
		func(c *imsg.SessionConfig) bool { return c.Antispam },
		func(c *imsg.SessionConfig) int64 { return c.SpamMaxSize },
	},
}

// why tells why the engine does not look, as far as it can be told without asking
// anybody.
func (e *engine) why(cfg *imsg.SessionConfig, size int64, by Spared) Reason {
	switch limit := e.size(cfg); {
	case !e.on(cfg):
		return Off
	case by.LoggedIn&e.skip != 0:
		return LoggedIn
	case by.Exempt&e.exempt != 0:
		return Exempt
	case limit <= 0 || size > limit:
		return Size
	}
	return 0
}

// New makes the plan for a message of size octets. by is what its session is
// spared; load is asked, for the load average of the last minute, only if it
// matters.
func New(cfg *imsg.SessionConfig, size int64, by Spared, load func() float64) Plan {
	var p Plan
	for i := range engines {
		e := &engines[i]
		s := Skip{Role: e.role, Reason: e.why(cfg, size, by)}
		if s.Reason == 0 && e.role == imsg.RoleSpam && cfg.SpamMaxLoad > 0 {
			if l := load(); l > cfg.SpamMaxLoad {
				s.Reason, s.Load = Load, l
			}
		}
		switch s.Reason {
		case 0:
			p.Roles |= e.role
		case Off:
		default:
			p.Skipped = append(p.Skipped, s)
		}
	}
	return p
}

// NeedsSpool tells whether a message that has this size so far is written for
// anybody. It is asked for every piece of a message.
func NeedsSpool(cfg *imsg.SessionConfig, size int64, by Spared) bool {
	for i := range engines {
		if engines[i].why(cfg, size, by) == 0 {
			return true
		}
	}
	return cfg.SpoolLeaveOn&imsg.LeaveAlways != 0
}
