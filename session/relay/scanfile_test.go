package relay

import (
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// TestFileVerdict: of a file is said what a client would hear that sent it.
func TestFileVerdict(t *testing.T) {
	clean := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Clean}
	caught := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Caught, Name: "V"}
	unnamed := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Caught}
	failed := imsg.Finding{Roles: imsg.RoleVirus, Outcome: imsg.Failed, Problem: "gone"}
	ham := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.Clean, Score: 1}
	spam := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.Clean, Score: 9}
	mute := imsg.Finding{Roles: imsg.RoleSpam, Outcome: imsg.TimedOut}
	set := func(rules ...imsg.PolicyRule) (s imsg.PolicyRuleSet) {
		for _, r := range rules {
			s = s.With(r)
		}
		return s
	}
	for name, row := range map[string]struct {
		change    func(*imsg.SessionConfig)
		findings  []imsg.Finding
		reply     string
		would     imsg.PolicyRuleSet
		unscanned bool
		skipped   string
	}{
		"clean":             {nil, []imsg.Finding{clean, ham}, "", 0, false, ""},
		"virus":             {nil, []imsg.Finding{caught, spam}, "550 5.7.1 gate.example virus (V)", 0, false, ""},
		"virus, no name":    {nil, []imsg.Finding{unnamed, ham}, "550 5.7.1 gate.example virus (unknown)", 0, false, ""},
		"spam":              {nil, []imsg.Finding{clean, spam}, "550 5.7.1 gate.example spam [9.000000]", 0, false, ""},
		"spam passes":       {func(c *imsg.SessionConfig) { c.SpamRefuse = false }, []imsg.Finding{clean, spam}, "", 0, false, ""},
		"engine gone":       {nil, []imsg.Finding{failed, ham}, "451 4.3.0 gate.example failed", 0, false, ""},
		"ignored":           {func(c *imsg.SessionConfig) { c.IgnoreErrors = true }, []imsg.Finding{failed, ham}, "", 0, true, ""},
		"spam engine gone":  {nil, []imsg.Finding{clean, mute}, "", 0, true, ""},
		"nobody answered":   {nil, nil, "451 4.3.0 gate.example failed", 0, false, ""},
		"too large":         {func(c *imsg.SessionConfig) { c.SizeLimit = 99 }, []imsg.Finding{caught, ham}, "552 5.3.4 gate.example size (99 octets at most)", 0, false, ""},
		"too large for one": {func(c *imsg.SessionConfig) { c.SpamMaxSize = 99 }, []imsg.Finding{clean}, "", 0, false, "spam size"},
		"all monitored": {
			func(c *imsg.SessionConfig) {
				c.SizeLimit, c.Monitor = 99, set(imsg.RuleVirus, imsg.RuleSpam, imsg.RuleSize)
			},
			[]imsg.Finding{caught, spam},
			"", set(imsg.RuleVirus, imsg.RuleSpam, imsg.RuleSize), false, "",
		},
		"two lines": {
			func(c *imsg.SessionConfig) { c.Texts[imsg.MsgVirusFound] = "a\r\nb" },
			[]imsg.Finding{caught, ham},
			"550 5.7.1 gate.example a##b (V)", 0, false, "",
		},
	} {
		cfg := &imsg.SessionConfig{
			ProxyName: "gate.example", Antivirus: true, Antispam: true, ScanMaxSize: 1000, SpamMaxSize: 1000, SpamThreshold: 5, SpamRefuse: true,
			Texts: make([]string, imsg.Texts),
		}
		cfg.Texts[imsg.MsgVirusFound], cfg.Texts[imsg.MsgSpamFound], cfg.Texts[imsg.MsgScannerFailed] = "virus", "spam", "failed"
		cfg.Texts[imsg.MsgUnknownVirus], cfg.Texts[imsg.MsgSizeLimit] = "unknown", "size"
		if row.change != nil {
			row.change(cfg)
		}
		plan := verdict.New(cfg, 100, verdict.Spared{}, nil)
		v := FileVerdict(cfg, 100, &plan, row.findings)
		var skipped []string
		for _, s := range v.Skipped {
			skipped = append(skipped, s.Roles.String()+" "+s.Cause)
		}
		if v.Reply != row.reply || v.Would != row.would || v.Unscanned != row.unscanned || strings.Join(skipped, ", ") != row.skipped || v.Size != 100 {
			t.Errorf("%s: %+v", name, v)
		}
		if err := imsg.Row(v).Check(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
