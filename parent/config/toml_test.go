package config

import (
	"strings"
	"testing"
)

func TestTOMLValues(t *testing.T) {
	for _, tc := range []struct{ text, name, want, err string }{
		{text: "[timeouts]\nidle = 300", name: "timeout_idle", want: "300"},
		{text: "[timeouts]\nidle = \"5m\"", name: "timeout_idle", want: "300"},
		{text: "[timeouts]\nidle = \"1h30m\"", name: "timeout_idle", want: "5400"},
		{text: "timeouts.idle = \"30s\"", name: "timeout_idle", want: "30"},
		{text: "[timeouts]\nidle = \"300\"", err: `"300" is not a duration (accepted: seconds, 1 or more, or a string like "30s", "5m" or "1h")`},
		{text: "[timeouts]\nidle = \"1500ms\"", err: "whole seconds"},
		{text: "[timeouts]\nidle = 1.5", err: "not a duration"},
		{text: "[timeouts]\nidle = \"-1s\"", err: "out of range"},
		{text: "[timeouts]\nidle = 0", err: "out of range"},
		{text: "[timeouts]\ndirect = 0", err: "out of range"},
		{text: "[timeouts]\nconnect = 0", name: "timeout_connect", want: "0"},
		{text: "[timeouts]\nantivirus = \"0s\"", name: "timeout_scanner", want: "0"},
		{text: "[lock]\non = [\"virus\"]", name: "antispam_refuse", want: "yes"},
		{text: "[scan.antispam]\nrefuse = false", name: "antispam_refuse", want: "no"},
		{text: "[lock]\nduration = -1", name: "lock_duration", want: "-1"},

		{text: "[limits]\nmessage_size = \"10 MB\"", name: "size_limit", want: "10000000"},
		{text: "[limits]\nmessage_size = \"512KiB\"", name: "size_limit", want: "524288"},
		{text: "[limits]\nmessage_size = \"2 gib\"", name: "size_limit", want: "2147483648"},
		{text: "[limits]\nmessage_size = \"5 B\"", name: "size_limit", want: "5"},
		{text: "[limits]\nmessage_size = 1_000", name: "size_limit", want: "1000"},
		{text: "[limits]\nmessage_size = \"10\"", err: "not a size"},
		{text: "[limits]\nmessage_size = \"10 M\"", err: `"M" is no unit of size`},
		{text: "[limits]\nmessage_size = \"9999999999 GiB\"", err: "out of range"},
		{text: "[limits]\nmessage_size = \"99999999999999999999 B\"", err: "out of range"},
		{text: "[limits]\nmessage_size = \"-1 MB\"", err: "not a size"},
		{text: "[limits]\nper_host = \"8\"", err: `"8" is not a whole number`},
		{text: "[limits]\nper_host = 1.0", err: "not a whole number"},
		{text: "[limits]\nper_host = -1", err: "out of range"},
		{text: "[limits]\nload = 3", name: "max_load", want: "3.000000"},
		{text: "[limits]\nload = 3.5", name: "max_load", want: "3.500000"},
		{text: "[limits]\nload = inf", err: "out of range"},
		{text: "[limits]\nload = nan", err: "out of range"},
		{text: "[limits]\nload = \"3\"", err: "not a number"},

		{text: "[lock]\nperm = \"0600\"", name: "lock_perm", want: "0600"},
		{text: "[lock]\nperm = \"600\"", err: "no octal permissions"},
		{text: "[lock]\nperm = 0o600", err: "384 is not a string"},
		{text: "[lock]\nperm = \"\"", err: "no octal permissions"},
		{text: "[lock]\non = [\"virus\", \"spam\"]", name: "lock_on", want: "virus,spam"},
		{text: "[lock]\non = \"virus, spam\"", name: "lock_on", want: "virus,spam"},
		{text: "[lock]\non = []", err: "has no value"},
		{text: "[lock]\non = [1]", err: "1 is not a string"},
		{text: "[lock]\non = [\"viru\"]", err: `unknown word "viru" (accepted: a list of any of never, virus`},
		{text: "[target]\nmode = [\"fixed\"]", err: "one value"},
		{text: "[target]\nmode = \"fixed\"", name: "mode", want: "fixed"},
		{text: "[listen]\non = [\"0.0.0.0:25\", \"[::]:25\"]", name: "listen", want: "0.0.0.0:25,[::]:25"},
		{text: "[listen]\non = []", name: "listen", want: ""},
		{text: "[policy]\ndnsbl = [\"a.example=127.0.0.[2;4..11]\", \"b.example\"]", name: "dnsbl", want: "a.example=127.0.0.[2;4..11],b.example"},
		{text: "[policy]\ndnsbl = [\"a.example=192.0.2.[2]\"]", err: "outside 127.0.0.0/8"},
		{text: "[scan]\nignore_errors = true", name: "ignore_errors", want: "yes"},
		{text: "[scan]\nignore_errors = \"yes\"", err: "accepted: true or false"},
		{text: "[header]\nabuse = \" a b \"", name: "abuse", want: "a b"},
		{text: "[header]\nabuse = \"a\\nb\"", err: "control character"},
		{text: "[header]\nabuse = \"\"\"a\nb\"\"\"", err: "control character"},
		{text: "[header]\nabuse = 1979-05-27", err: "not a string"},
		{text: "[header]\nnat = \"\"", err: "has no value"},
		{text: "[header]\nnat = \"2\"", err: "header field"},
		{text: "[messages]\nhello = \"grüß dich\"", name: "msg_hello", want: "grüß dich"},
		{text: "[policy.regex]\nreject_helo = '^\\d+$'", name: "regex_reject_helo", want: `^\d+$`},
		{text: "[scan]\nantivirus = { engine = \"clamd\", socket = \"127.0.0.1:3310\" }", name: "antivirus_path", want: "127.0.0.1:3310"},

		{text: "[limits]\nmax_per_host = 3", err: "f:2: limits.max_per_host: unknown key, in this syntax it is limits.per_host"},
		{text: "[limit]\nper_host = 3", err: "f:1: limit: unknown key"},
		{text: "port = 25", err: "f:1: port: unknown key, in this syntax it is listen.port"},
		{text: "\"limits.per_host\" = 3", err: "unknown key"},
		{text: "scan = 1", err: "f:1: scan: is a section"},
		{text: "[[scan]]\nparallel = 2", err: "scan: is a section"},
		{text: "[lock.on]\nx = 1", err: "a section is not a string"},
		{text: "[lock]\nperm = \"0600\"\nperm = \"0600\"", err: "f:3: "},
		{text: "[lock]\nduration = 1 h", err: "f:2: "},
	} {
		t.Run(tc.text, func(t *testing.T) {
			c, _, err := Parse("f", []byte(tc.text))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "f:") {
					t.Fatalf("error %v, want one with %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := index(table(c))[tc.name].Value(); got != tc.want {
				t.Errorf("%s is %q, want %q", tc.name, got, tc.want)
			}
		})
	}
}

func TestTOMLErrorsInOrder(t *testing.T) {
	_, _, err := Parse("f", []byte("[lock]\nperm = 1\n[a]\n[b]\n[spool]\nperm = 2\n"))
	var at []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		at = append(at, line[:4])
	}
	if got := strings.Join(at, ""); got != "f:2:f:3:f:4:f:6:" {
		t.Errorf("%s in\n%v", got, err)
	}
}

func TestSyntaxIsToldByContent(t *testing.T) {
	for text, toml := range map[string]bool{
		"":                           false,
		"# only a comment\n":         false,
		"; old comment\n[lock]\n":    false,
		";port=25\nport 26\n":        false,
		"port 25\n":                  false,
		"\tmode = 1\n":               true,
		"\ufeff[lock]\n":             true,
		"\r\n# x\r\n[ lock ]\r\n":    true,
		"lock.perm = \"0600\"":       true,
		"\"lock\".perm = \"0600\"":   true,
		"proxy_name mail = server\n": false,
		"regex_reject_helo ^a=b\n":   false,
		"dnsbl a=127.0.0.2\n":        false,
	} {
		if got := isTOML(strings.TrimPrefix(text, "\ufeff")); got != toml {
			t.Errorf("%q: TOML is %v", text, got)
		}
	}
}
