package config

import (
	"regexp"
	"strings"
	"testing"
)

// TestRunning: what is printed of a configuration in force reads back, says where each value
// came from, and has no secret in it.
func TestRunning(t *testing.T) {
	for name, text := range map[string]string{
		"gate.conf": "mode fixed\nfixed_server 192.0.2.25\nremote_udp_secret 1234567\n# x\nload_max 7\nmsg_virus_found a \"b\"  # default\n",
		"gate.toml": "[target]\nmode = \"fixed\"\nserver = \"192.0.2.25\"\n[target.remote]\nsecret = 1234567\n[limits]\nload = 7\n[messages]\nvirus_found = 'a \"b\"  # default'\n" +
			"[[tls.rule]]\nclient = [\"192.0.2.0/24\"]\npolicy = \"mask\"\n[[tls.rule]]\npolicy = \"pass\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := Parse(name, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := (&Running{c, 77, 3}).Print(&b); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "1234567") || !strings.Contains(b.String(), "\nsecret = \"***\"  # line ") {
				t.Errorf("%s", b.String())
			}
			r, err := ParseRunning("running", []byte(b.String()))
			if err != nil || r.PID != 77 || r.Generation != 3 {
				t.Fatalf("%+v, %v", r, err)
			}
			if all := r.Changes(c); len(all) != 0 {
				t.Errorf("%+v", all)
			}
			if all := r.Uncomparable(c); len(all) != 1 || !strings.HasSuffix(all[0], "secret") {
				t.Errorf("%q", all)
			}
			was, is := c.Settings(), r.Settings()
			if len(was) != len(is) {
				t.Fatalf("%d settings, and %d", len(was), len(is))
			}
			for i := range was {
				if was[i] != is[i] {
					t.Errorf("%+v, and %+v", was[i], is[i])
				}
			}
			want := map[string]string{"target.mode": "line 1", "target.remote.secret": "line 3", "limits.load": "line 5", "messages.virus_found": "line 6", "listen.port": "default"}
			if c.InTOML() {
				want = map[string]string{
					"target.mode": "line 2", "target.remote.secret": "line 5", "limits.load": "line 7", "messages.virus_found": "line 9", "listen.port": "default",
					"tls.rule[0].policy": "line 12", "tls.rule[1].policy": "line 14",
				}
			}
			for _, s := range is {
				if origin, is := want[s.Name]; is && s.Origin != origin {
					t.Errorf("%s: %s, want %s", s.Name, s.Origin, origin)
				}
				delete(want, s.Name)
			}
			if len(want) > 0 {
				t.Errorf("no %v", want)
			}
			b.Reset()
			if err := r.Show(&b, false); err != nil || strings.Contains(b.String(), "# line") || !strings.Contains(b.String(), "secret = \"***\"\n") {
				t.Errorf("%v: %s", err, b.String())
			}
		})
	}
}

func TestRunningChanges(t *testing.T) {
	parse := func(text string) *Config {
		t.Helper()
		c, _, err := Parse("gate", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	running := &Running{parse("mode fixed\nmax_load 7\npidfile /run/a\nremote_udp_secret 5\n"), 1, 1}
	next := parse("mode fixed\nmax_load 8\npidfile /run/b\n")
	want := []Change{
		{"remote_udp_secret", hidden, "0", false},
		{"pidfile", `"/run/a"`, `"/run/b"`, true},
		{"max_load", "7.0", "8.0", false},
	}
	all := running.Changes(next)
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i := range want {
		if all[i] != want[i] {
			t.Errorf("%+v, want %+v", all[i], want[i])
		}
	}
	// What a reload leaves comes from no line of the file.
	next.Keep(running.Config)
	for _, s := range next.Settings() {
		if s.Name == "server.pid_file" && (s.Origin != kept || s.Value != `"/run/a"` || !s.Restart) {
			t.Errorf("%+v", s)
		}
	}
}

func TestNoRunning(t *testing.T) {
	for _, text := range []string{"", "mode fixed\n", "# smtp-gated: the configuration of generation x of process 1", "# smtp-gated: the configuration of generation 1 of process 7, without secrets\n[x]\ny = 1\n"} {
		if r, err := ParseRunning("x", []byte(text)); err == nil {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

// TestSecrets: an option that sounds like a secret is one, or is known not to be.
func TestSecrets(t *testing.T) {
	sounds := regexp.MustCompile(`(?i)secret|passw|token|private|credential|\bkey\b|_key`)
	harmless := map[string]bool{
		"user_keys":           true, // a user's name
		"tls_verify":          true, // which public keys
		"tls_pins":            true, // hashes of such
		"tls.certificate.key": true, // a path
	}
	all := OptionsTOML()
	for _, a := range Arrays() {
		all = append(all, a.Keys...)
	}
	for _, o := range all {
		if sounds.MatchString(o.Name+" "+o.Path+" "+o.Help) && !o.Secret && !harmless[o.Name] {
			t.Errorf("%s sounds like a secret", o.Name)
		}
	}
}

// FuzzParseRunning: whoever reads a text of ours that others may have changed does not
// stumble, and prints what reads back.
func FuzzParseRunning(f *testing.F) {
	var b strings.Builder
	c := NewSite()
	c.RemoteSecret = 7
	if err := (&Running{c, 1, 1}).Print(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRunning("x", []byte(text))
		if err != nil {
			return
		}
		var b strings.Builder
		if err := r.Print(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRunning("x", []byte(b.String())); err != nil {
			t.Errorf("%v:\n%s", err, b.String())
		}
	})
}
