// The configurations under which dialogues are recorded.

package session

import (
	"net/netip"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func listed(imsg.Message) imsg.Message {
	return &imsg.DNSBLResult{Zone: "zen.example", Answer: netip.MustParseAddr("127.0.0.2")}
}

func notListed(imsg.Message) imsg.Message { return &imsg.DNSBLResult{} }

func failing(imsg.Message) imsg.Message { return &imsg.Failure{Errno: imsg.Busy} }

// policies are what domains say of those who may send for them.
func policies(m imsg.Message) imsg.Message {
	switch m.(*imsg.SPF).MailFrom {
	case "fail@spf.example":
		return &imsg.SPFResult{Verdict: imsg.SPFFail}
	case "soft@spf.example":
		return &imsg.SPFResult{Verdict: imsg.SPFSoftFail}
	case "error@spf.example":
		return &imsg.Failure{Errno: imsg.Timeout}
	case "problem@spf.example":
		return &imsg.SPFResult{Verdict: imsg.SPFTempError, Problem: "no answer"}
	}
	return &imsg.SPFResult{Verdict: imsg.SPFNeutral}
}

var plans = []plan{
	{name: "plain", scans: true},
	{name: "chunks", chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks = true }},
	{name: "chunks and small messages", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.SizeLimit, c.NatHeaderType = true, 2000, imsg.NatNone
	}},
	{name: "small messages", change: func(c *imsg.SessionConfig) { c.SizeLimit, c.TimeoutScan, c.SpoolHeader = 2000, 0, "" }},
	{name: "stray octets rejected", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.BareNewline, c.RejectNUL = true, imsg.NewlineReject, true
	}},
	{name: "stray octets passed", change: func(c *imsg.SessionConfig) {
		c.BareNewline, c.NatHeaderType, c.Abuse = imsg.NewlinePass, imsg.NatIPOnly, "abuse@gate.example"
	}},
	{name: "patient, no STARTTLS, all logged", patient: true, change: func(c *imsg.SessionConfig) {
		c.EarlyTalk, c.LogHelo, c.Abuse = false, true, "abuse@gate.example"
		c.TLS.Policy = imsg.TLSMask
		c.LogMailFrom, c.LogRcptTo = imsg.LogAccepted|imsg.LogRejected, imsg.LogAccepted|imsg.LogRejected
	}},
	{name: "hashes logged", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.EmailLength = true, 8
		c.LogMailFrom, c.LogRcptTo = imsg.LogAccepted|imsg.LogRejected|imsg.LogBase64, imsg.LogRejected|imsg.LogAccepted|imsg.LogBase64
	}},
	{name: "some logged", change: func(c *imsg.SessionConfig) {
		c.EmailLength, c.LogMailFrom, c.LogRcptTo = 8, imsg.LogRejected, imsg.LogAccepted
	}},
	{name: "who must log in", waits: true, chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks, c.AuthRequire = true, imsg.AuthMandatory }},
	{name: "who can must log in", waits: true, chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks, c.AuthRequire = true, imsg.AuthIfSupported }},
	{name: "who logs in is spared scans", change: func(c *imsg.SessionConfig) { c.AuthSkip = imsg.SkipAntivirus | imsg.SkipAntispam }},
	{name: "who logs in is spared half a scan", chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks, c.AuthSkip = true, imsg.SkipAntispam }},
	{name: "who logs in is not looked at", direct: true, change: func(c *imsg.SessionConfig) { c.AuthSkip = imsg.SkipDirect }},
	{name: "viruses, errors ignored, all kept", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.Antispam, c.IgnoreErrors, c.SpoolLeaveOn = true, false, true, imsg.LeaveAlways
	}},
	{name: "spam, not refused, kept", change: func(c *imsg.SessionConfig) {
		c.Antivirus, c.SpamRefuse, c.SpoolLeaveOn = false, false, imsg.LeaveSpam
	}},
	{name: "viruses and spam kept", scans: true, change: func(c *imsg.SessionConfig) { c.SpoolLeaveOn = imsg.LeaveSpam | imsg.LeaveVirus }},
	{name: "errors ignored", chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks, c.IgnoreErrors, c.SpoolLeaveOn = true, true, 0 }},
	{name: "no engines, all kept", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.Antivirus, c.Antispam, c.SpoolLeaveOn = true, false, false, imsg.LeaveAlways
	}},
	{name: "no engines, no spool", chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.Antivirus, c.Antispam, c.SizeLimit = true, false, false, 2000
	}},
	{name: "small scans", chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks, c.ScanMaxSize, c.SpamMaxSize = true, 300, 100 }},
	{name: "small scans, no chunks", change: func(c *imsg.SessionConfig) { c.ScanMaxSize, c.SpamMaxSize = 200, 0 }},
	{name: "some rejected", waits: true, change: func(c *imsg.SessionConfig) { c.RejectHelo, c.RejectMail, c.RejectRcpt = "bad", "bad", "bad" }},
	{name: "some enforced", waits: true, chunks: true, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.AuthSkip = true, imsg.SkipRegex
		c.EnforceHelo, c.EnforceMail, c.EnforceRcpt = "example|192", "client", "mx"
	}},
	{name: "listed", waits: true, answers: listed, change: func(c *imsg.SessionConfig) { c.DNSBL, c.AuthSkip = true, imsg.SkipDNSBL }},
	{name: "not listed", waits: true, answers: notListed, change: func(c *imsg.SessionConfig) { c.DNSBL, c.AuthSkip, c.TimeoutLookup = true, imsg.SkipDNSBL, 0 }},
	{name: "lists fail", waits: true, answers: failing, change: func(c *imsg.SessionConfig) { c.DNSBL = true }},
	{name: "SPF", waits: true, chunks: true, answers: policies, change: func(c *imsg.SessionConfig) {
		c.ScanChunks, c.SPF, c.SPFFixedIP = true, imsg.SPFFixed, netip.MustParseAddr("192.0.2.7")
	}},
	{name: "SPF, logged only", waits: true, answers: policies, change: func(c *imsg.SessionConfig) {
		c.SPF, c.SPFFixedIP, c.SPFLogOnly, c.LogMailFrom = imsg.SPFFixed, netip.MustParseAddr("192.0.2.7"), true, imsg.LogAccepted
	}},
	{name: "SPF of this machine", waits: true, answers: policies, change: func(c *imsg.SessionConfig) { c.SPF = imsg.SPFOutgoing }},
	{name: "SPF of the client", waits: true, answers: policies, change: func(c *imsg.SessionConfig) { c.SPF = imsg.SPFIncoming }},
	{name: "XCLIENT", scans: true, tells: true, change: withXclient},
	{name: "XCLIENT and chunks", tells: true, chunks: true, change: func(c *imsg.SessionConfig) { c.ScanChunks = true; withXclient(c) }},
	{name: "no server", closed: true, waits: true},
	{name: "short takeovers", scans: true, change: func(c *imsg.SessionConfig) { c.TakeoverCmds = 2 }},
}
