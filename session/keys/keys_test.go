package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestHandshakes: a real client verifies what a key elsewhere has signed, of each kind of
// key, in each form a file may have, in each version.
func TestHandshakes(t *testing.T) {
	a := newAuthority(t)
	rsaKey, ecKey := newKey(t, "rsa"), newKey(t, "p384")
	sec1, err := x509.MarshalECPrivateKey(ecKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	edKey := newKey(t, "ed25519")
	for name, pair := range map[string][2]string{
		"RSA in PKCS #1": {a.valid(t, rsaKey, "a.example"), inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey)))},
		"RSA in PKCS #8": {a.valid(t, rsaKey, "a.example"), "a comment\n" + pkcs8(t, rsaKey)},
		"ECDSA in SEC 1": {a.valid(t, ecKey, "a.example"), inPEM("EC PARAMETERS", []byte{1}) + inPEM("EC PRIVATE KEY", sec1)},
		"Ed25519":        {a.valid(t, edKey, "a.example"), pkcs8(t, edKey)},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.start(true, []imsg.TicketKey{freshKey()}, pair)
			h.ready()
			w := h.worker(1)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				s, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MaxVersion: version})
				if err != nil || s.Version != version {
					t.Errorf("version %x: %x, %v", version, s.Version, err)
				}
			}
			if _, err := shake(t, w.Config(tls.VersionTLS13), &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MaxVersion: tls.VersionTLS12}); err == nil {
				t.Error("an older version than the oldest is spoken")
			}
		})
	}
}

// TestOldVersions: what TLS before 1.2 has signed is signed only if it is to be spoken.
func TestOldVersions(t *testing.T) {
	a := newAuthority(t)
	for _, kind := range []string{"rsa", "p256"} {
		for _, old := range []bool{true, false} {
			key := newKey(t, kind)
			h := open(t)
			h.Tell(&imsg.KeysConfig{Certificates: []imsg.PairNames{{}}, Old: old, Generation: 3})
			h.hand(0, [2]string{a.valid(t, key, "a.example"), pkcs8(t, key)})
			h.ready()
			w := h.worker(1)
			_, err := shake(t, w.Config(tls.VersionTLS10), &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			if (err == nil) != old {
				t.Errorf("%s, old %v: %v", kind, old, err)
			}
		}
	}
}

// TestChoice: a client is shown the certificate for the name it asks for, of a kind that
// it can verify, and the first one if there is none.
func TestChoice(t *testing.T) {
	a := newAuthority(t)
	var all [][2]string
	for _, c := range []struct {
		kind  string
		names []string
	}{{"p256", []string{"first.example"}}, {"p256", []string{"b.example", "*.c.example"}}, {"rsa", []string{"b.example"}}} {
		key := newKey(t, c.kind)
		all = append(all, [2]string{a.valid(t, key, c.names...), pkcs8(t, key)})
	}
	h := open(t)
	h.start(true, nil, all...)
	h.ready()
	w := h.worker(1)
	if err := imsgtest.Eventually("not all certificates are told", func() bool {
		s, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "b.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}})
		return err == nil && s.PeerCertificates[0].PublicKeyAlgorithm == x509.RSA
	}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ asked, want string }{
		{"first.example", "first.example"}, {"b.example", "b.example"}, {"x.c.example", "b.example"}, {"d.example", "first.example"}, {"", "first.example"},
	} {
		s, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{InsecureSkipVerify: true, ServerName: tc.asked})
		if err != nil || s.PeerCertificates[0].DNSNames[0] != tc.want || s.PeerCertificates[0].PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("who asks for %q: %v, want %s", tc.asked, err, tc.want)
		}
	}
}

// TestResumption: a session of one worker goes on with another one, and behind another
// room, as long as a key is kept.
func TestResumption(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t, "p256")
	pair := [2]string{a.valid(t, key, "a.example"), pkcs8(t, key)}
	first, second, third := freshKey(), freshKey(), freshKey()
	h, other := open(t), open(t)
	h.start(true, []imsg.TicketKey{first}, pair)
	other.start(true, []imsg.TicketKey{second, first}, pair)
	h.ready()
	other.ready()
	one, two, elsewhere := h.worker(1), h.worker(2), other.worker(1)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		step := func(what string, w *worker, resumed bool) {
			t.Helper()
			s, err := shake(t, w.Config(tls.VersionTLS12), client)
			if err != nil || s.DidResume != resumed {
				t.Errorf("%x, %s: resumed %v, %v", version, what, s.DidResume, err)
			}
		}
		step("the first time", one, false)
		step("the other worker", two, true)
		step("the first again", one, true)
		step("another room", elsewhere, true)
		if version == tls.VersionTLS13 { // has a ticket of each handshake
			step("a key that is not known yet", one, false)
		}
		other.Tell(&imsg.TicketKeys{Keys: []imsg.TicketKey{third}})
		if err := imsgtest.Eventually("the keys are others", func() bool {
			c, err := shake(t, elsewhere.Config(tls.VersionTLS12), &tls.Config{RootCAs: client.RootCAs, ServerName: "a.example", MaxVersion: version, ClientSessionCache: frozen{client.ClientSessionCache}})
			return err == nil && !c.DidResume
		}); err != nil {
			t.Error(err)
		}
		step("another room, whose keys are others", elsewhere, false)
		step("keys that are gone", one, false)
		other.Tell(&imsg.TicketKeys{Keys: []imsg.TicketKey{second, first}})
		if _, err := link.Ask(other.worker(9).Conn, &imsg.SealTicket{State: "x"}, imsgtest.Patience); err != nil {
			t.Error(err) // they were heard of
		}
	}
}

// frozen is a cache that takes no new ticket: one may be sealed with another key than the
// one before it was opened with.
type frozen struct{ tls.ClientSessionCache }

func (frozen) Put(string, *tls.ClientSessionState) {}

// TestBadPairs: what is no certificate with its key is not taken. At first that is the
// end, and says which file and why; later the one before is kept.
func TestBadPairs(t *testing.T) {
	a := newAuthority(t)
	key, now := newKey(t, "p256"), time.Now()
	chain := a.valid(t, key, "a.example")
	encrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	for name, tc := range map[string]struct{ chain, key, want string }{
		"another's key":    {chain, pkcs8(t, newKey(t, "p256")), "its key /etc/0/key: it is not that of the first certificate of the chain: name the key that"},
		"another kind":     {chain, pkcs8(t, newKey(t, "rsa")), "its key /etc/0/key: it is not that of the first certificate of the chain: name the key that"},
		"empty key":        {chain, "", "its key /etc/0/key: it has no private key in PEM"},
		"no chain":         {"", pkcs8(t, key), "its chain: it has no certificate in PEM"},
		"key as chain":     {pkcs8(t, key), pkcs8(t, key), "its chain: it has no certificate"},
		"rubbish inside":   {inPEM("CERTIFICATE", []byte("rubbish")), pkcs8(t, key), "its chain: x509:"},
		"no key":           {chain, chain, "its key /etc/0/key: it has no private key in PEM"},
		"rubbish as key":   {chain, inPEM("PRIVATE KEY", []byte("rubbish")), "its key /etc/0/key: it cannot be read, or is encrypted"},
		"encrypted":        {chain, inPEM("ENCRYPTED PRIVATE KEY", []byte("x")), "its key /etc/0/key: a key of the kind ENCRYPTED PRIVATE KEY is not known, or encrypted"},
		"encrypted of old": {chain, encrypted, "its key /etc/0/key: it cannot be read, or is encrypted"},
		"too large":        {chain, strings.Repeat("\n", 128<<10+1), "its key /etc/0/key: it is larger than"},
		"too long":         {strings.Repeat(chain, 100), pkcs8(t, key), "octets of certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.start(true, nil, [2]string{tc.chain, tc.key})
			if err := imsgtest.Receive(t, "the end", h.Ended); err == nil || !contains(err.Error(), "certificate /etc/0/chain: ") || !contains(err.Error(), tc.want) {
				t.Errorf("at first: %v, want %s", err, tc.want)
			}
			h = open(t)
			h.start(true, nil, [2]string{chain, pkcs8(t, key)})
			h.ready()
			w := h.worker(1)
			h.hand(0, [2]string{tc.chain, tc.key})
			h.tells("of the trouble", func(all []imsg.CertificateStatus) bool {
				return len(all) == 1 && contains(all[0].Problem, tc.want[:min(len(tc.want), 20)]) && all[0].Name == "a.example" && all[0].End > now.Unix()
			})
			if _, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "a.example"}); err != nil {
				t.Errorf("the one before is not shown: %v", err)
			}
		})
	}
}

// TestUntimely: a certificate that clients do not trust any more, or not yet, is taken where
// there is none that they do, and nowhere else.
func TestUntimely(t *testing.T) {
	a := newAuthority(t)
	key, now := newKey(t, "p256"), time.Now()
	good := [2]string{a.valid(t, key, "a.example"), pkcs8(t, key)}
	for name, tc := range map[string]struct {
		begin, end time.Duration
		want       string
	}{
		"expired":   {-time.Hour, -time.Minute, "its chain: it has expired at "},
		"too early": {time.Hour, 2 * time.Hour, "its chain: it is not valid before "},
	} {
		t.Run(name, func(t *testing.T) {
			bad := [2]string{a.issue(t, key, now.Add(tc.begin), now.Add(tc.end), "b.example"), pkcs8(t, key)}
			worse := [2]string{a.issue(t, key, now.Add(tc.begin), now.Add(tc.end), "c.example"), pkcs8(t, key)}
			shows := func(w *worker, name string) {
				t.Helper()
				if err := imsgtest.Eventually(name+" is not shown", func() bool {
					s, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{InsecureSkipVerify: true})
					return err == nil && s.PeerCertificates[0].DNSNames[0] == name
				}); err != nil {
					t.Fatal(err)
				}
			}
			h := open(t)
			h.start(true, nil, bad)
			h.ready()
			w := h.worker(1)
			shows(w, "b.example")
			h.tells("of it", func(all []imsg.CertificateStatus) bool {
				return all[0].Problem == "" && all[0].Begin == now.Add(tc.begin).Unix() && all[0].End == now.Add(tc.end).Unix()
			})
			h.hand(0, worse)
			shows(w, "c.example")
			h.hand(0, good)
			shows(w, "a.example")
			h.hand(0, bad)
			h.tells("that it is not taken", func(all []imsg.CertificateStatus) bool {
				return strings.HasPrefix(all[0].Problem, tc.want) && all[0].Name == "a.example"
			})
			shows(w, "a.example")
			for i, until := range []int64{0, 0, now.Add(100 * time.Hour).Unix()} {
				if s := imsgtest.Receive(t, "what is shown", h.shown); s.Number != 0 || s.Until != until && i < 2 || i == 2 && s.Until < until-60 {
					t.Errorf("the parent is told %+v, want %d", s, until)
				}
			}

			// Who takes over from those that show one to be trusted does not begin with it.
			for until, taken := range map[int64]bool{now.Add(time.Hour).Unix(): false, now.Add(-time.Hour).Unix(): true, 0: true} {
				h := open(t)
				h.Tell(&imsg.KeysConfig{Certificates: []imsg.PairNames{{Chain: "/etc/0/chain"}}, Generation: 3, Strict: true, Shown: []int64{until}})
				h.hand(0, bad)
				if taken {
					h.ready()
				} else if err := imsgtest.Receive(t, "the end", h.Ended); err == nil || !contains(err.Error(), "certificate /etc/0/chain: "+tc.want) {
					t.Errorf("%v, want %s", err, tc.want)
				}
			}
		})
	}
}

// TestRenewal: another certificate in the place of the first is shown by workers that are
// there already, and what one asks for the first still is signed.
func TestRenewal(t *testing.T) {
	a := newAuthority(t)
	old, renewed := newKey(t, "p256"), newKey(t, "p256")
	h := open(t)
	h.start(true, nil, [2]string{a.valid(t, old, "a.example"), pkcs8(t, old)})
	h.ready()
	w := h.worker(1)
	before, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	h.Tell(&imsg.PairLost{Number: 0, Problem: "open /etc/0/key: permission denied"})
	h.tells("that it cannot be opened", func(all []imsg.CertificateStatus) bool { return contains(all[0].Problem, "permission denied") })
	h.hand(0, [2]string{a.valid(t, renewed, "a.example"), pkcs8(t, renewed)})
	h.tells("that all is well", func(all []imsg.CertificateStatus) bool { return all[0].Problem == "" })
	if err := imsgtest.Eventually("the other is not shown", func() bool {
		s, err := shake(t, w.Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "a.example"})
		if err != nil {
			t.Fatal(err)
		}
		return !s.PeerCertificates[0].Equal(before.PeerCertificates[0])
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAway: without the room a handshake fails, and soon; a ticket that cannot be opened
// makes a whole one of it.
func TestAway(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t, "p256")
	h := open(t)
	h.start(true, []imsg.TicketKey{freshKey()}, [2]string{a.valid(t, key, "a.example"), pkcs8(t, key)})
	h.ready()
	w := h.worker(1)
	client := &tls.Config{RootCAs: a.pool(), ServerName: "a.example"}
	if _, err := shake(t, w.Config(tls.VersionTLS12), client); err != nil {
		t.Fatal(err)
	}
	w.Conn.Close()
	if _, err := shake(t, w.Config(tls.VersionTLS12), client); err == nil || !contains(err.Error(), "ask for a signature") {
		t.Errorf("without the room: %v", err)
	}
}

// TestUnready: a room that is replaced, not one of a new configuration, does without what
// cannot be used.
func TestUnready(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t, "p256")
	h := open(t)
	h.start(false, nil, [2]string{"", ""}, [2]string{a.valid(t, key, "a.example"), pkcs8(t, key)})
	h.ready()
	h.tells("of both", func(all []imsg.CertificateStatus) bool {
		return len(all) == 2 && all[0].Name == "/etc/0/chain" && all[0].End == 0 && all[0].Problem != "" && all[1].Problem == ""
	})
	if _, err := shake(t, h.worker(1).Config(tls.VersionTLS12), &tls.Config{RootCAs: a.pool(), ServerName: "a.example"}); err != nil {
		t.Error(err)
	}
}

// TestNonsense: who asks for a signature that no handshake needs is reported, and gets
// none; who only comes late, or too often, is not.
func TestNonsense(t *testing.T) {
	a := newAuthority(t)
	kinds := []string{"rsa", "p256", "ed25519"}
	var all [][2]string
	ids := map[string]uint64{}
	for _, kind := range kinds {
		key := newKey(t, kind)
		chain := a.valid(t, key, kind)
		all = append(all, [2]string{chain, pkcs8(t, key)})
		ids[kind] = idOf(t, chain)
	}
	h := open(t)
	h.start(true, nil, all...)
	h.ready()
	digest := func(n int) string { return strings.Repeat("d", n) }
	for i, tc := range []struct {
		kind   string
		hash   crypto.Hash
		pss    bool
		digest string
		good   bool
	}{
		{"rsa", crypto.SHA256, false, digest(32), true},
		{"rsa", crypto.SHA512, true, digest(64), true},
		{"rsa", crypto.SHA256, false, digest(31), false},
		{"rsa", crypto.SHA256, true, digest(48), false},
		{"rsa", 0, false, digest(32), false},
		{"rsa", crypto.SHA1, false, digest(20), false},
		{"rsa", crypto.MD5SHA1, false, digest(36), false},
		{"rsa", crypto.SHA224, false, digest(28), false},
		{"rsa", 255, false, digest(32), false},
		{"p256", crypto.SHA384, false, digest(48), true},
		{"p256", crypto.SHA256, true, digest(32), false},
		{"p256", crypto.SHA384, false, digest(32), false},
		{"ed25519", 0, false, digest(200), true},
		{"ed25519", crypto.SHA512, false, digest(64), false},
		{"ed25519", 0, true, digest(64), false},
	} {
		w := h.worker(i + 1)
		s, err := link.Ask(w.Conn, &imsg.Sign{ID: ids[tc.kind], Hash: uint8(tc.hash), PSS: tc.pss, Digest: tc.digest}, imsgtest.Patience)
		if tc.good {
			if err != nil || s.Octets == "" {
				t.Errorf("%+v: %v", tc, err)
			}
			continue
		}
		if !errors.Is(err, imsg.Gone) {
			t.Errorf("%+v: %v, want the end of the link", tc, err)
		}
		if bad := imsgtest.Receive(t, "a report", h.bad); bad.Room != imsg.Session || bad.Member != i+1 {
			t.Errorf("%+v: %+v", tc, bad)
		}
	}
	w := h.worker(99)
	if _, err := link.Ask(w.Conn, &imsg.Sign{ID: 1, Hash: uint8(crypto.SHA256), Digest: digest(32)}, imsgtest.Patience); !errors.Is(err, imsg.NotFound) {
		t.Errorf("no such certificate: %v", err)
	}
	if _, err := link.Ask(w.Conn, &imsg.SealTicket{State: "x"}, imsgtest.Patience); !errors.Is(err, imsg.Busy) {
		t.Errorf("no key for tickets: %v", err)
	}
	h.Tell(&imsg.TicketKeys{Keys: []imsg.TicketKey{freshKey()}})
	busy := false
	for range 4 * imsg.Signatures.Burst {
		_, err := link.Ask(w.Conn, &imsg.Sign{ID: ids["ed25519"], Digest: "d"}, imsgtest.Patience)
		if errors.Is(err, imsg.Busy) {
			busy = true
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	select {
	case bad := <-h.bad:
		t.Errorf("reported: %+v", bad)
	default:
	}
	_ = busy // a slow machine keeps to the pace by itself
}
