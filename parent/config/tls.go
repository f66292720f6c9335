// What must hold between the options of TLS. This file owns that two of them that
// exclude each other are both named.

package config

import (
	"strconv"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func (c *Config) checkTLS(wrong complaint) {
	t := &c.TLS
	if c.ForbidSTARTTLS && c.TLSPolicy != imsg.TLSAuto {
		wrong("tls_policy", "it excludes {forbid_starttls}, which is {tls_policy} mask: leave {forbid_starttls} out")
	}
	if c.ForbidSTARTTLS && len(t.Rules) > 0 {
		wrong("tls.rule", "it excludes {forbid_starttls}, which is for all sessions: leave that out, and write {tls_policy} mask")
	}
	if n := len(c.TLSCertificates); n > imsg.MaxCertificates {
		wrong("tls.certificate", "there are %d, at most %d can be kept", n, imsg.MaxCertificates)
	}
	c.checkTermination(wrong, "tls_policy", c.TLSPolicy == imsg.TLSTerminate, "terminate")
	for i, r := range t.Rules {
		c.checkTermination(wrong, "tls.rule", r.Policy == imsg.TLSTerminate, "number "+strconv.Itoa(i+1)+": policy terminate")
	}
	c.checkTermination(wrong, "listen_tls", len(c.ListenTLS) > 0, "it")
	if c.beginsTLS() {
		c.checkVerify(wrong)
	}
}

// checkTermination looks at what has TLS end here.
func (c *Config) checkTermination(wrong complaint, option string, is bool, what string) {
	if is && !c.Mode.Fixed() {
		wrong(option, "%s is for the fixed modes, and mode is %s: elsewhere no certificate of ours is the one that a client looks for", what, c.Mode)
	}
	if is && len(c.TLSCertificates) == 0 {
		wrong(option, "%s needs a certificate: write [[tls.certificate]] with chain and key, in a file in TOML", what)
	}
}

func (c *Config) checkVerify(wrong complaint) {
	switch t := &c.TLS; t.Verify {
	case imsg.TLSUndecided:
		wrong("tls_verify", "say how the server's certificate is looked at when TLS ends here: "+
			"name (signed by an authority of {tls_ca_file}, for {tls_server_name}), chain (signed so, for whatever name), pin (with a key of {tls_pins}), "+
			"none (whoever is in between may read along); to a server on this machine, {tls_upstream} never does without TLS")
	case imsg.TLSVerifyPin:
		if len(t.Pins) == 0 {
			wrong("tls_verify", "pin needs the hash of a key: set {tls_pins}")
		}
	case imsg.TLSVerifyName:
		if t.ServerName == "" {
			wrong("tls_verify", "name needs that of the server: set {tls_server_name}")
		}
	}
}
