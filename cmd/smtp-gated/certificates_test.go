// The word of stories about certificates:
//
//	certificate FOLDER NAME DAYS     write chain.pem and key.pem there: for a name, that long

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

func init() { commands["certificate"] = word((*story).certificate) }

func (s *story) certificate(_ *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 3 {
		return errTelling
	}
	days, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	folder := s.path(args[0])
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := writeCertificate(folder, args[1], time.Duration(days)*24*time.Hour); err != nil {
		return err
	}
	return s.handOver()
}

// certified puts a configuration of the old syntax in force that has a certificate, too,
// which TOML alone can say, as it can what else there is.
func (g *gate) certified(own string, tables ...string) error {
	if err := g.renew(); err != nil {
		return err
	}
	return g.shows(g.path("live"), "tls_upstream never\n"+own, tables...)
}

// shows puts such a configuration in force with the certificate that lies in a folder.
func (g *gate) shows(folder, own string, tables ...string) error {
	text, _, err := config.Convert("gate.conf", []byte(g.house()+own))
	if err != nil {
		return err
	}
	return g.configure(fmt.Sprintf("%s\n[[tls.certificate]]\nchain = %q\nkey = %q\n%s",
		text, filepath.Join(folder, "chain.pem"), filepath.Join(folder, "key.pem"), strings.Join(tables, "")), true)
}

// renew puts a certificate in the place of the one before, by a link, as those do who
// renew them.
func (g *gate) renew() error {
	folder, err := os.MkdirTemp(g.dir, "keys")
	if err != nil {
		return err
	}
	err = errors.Join(os.Chmod(folder, 0o755), writeCertificate(folder, "gate.test", 24*time.Hour*90), g.handOver())
	return errors.Join(err, os.Symlink(folder, g.path("next")), os.Rename(g.path("next"), g.path("live")))
}

// secured has a client say STARTTLS and shake hands, and returns how that came out.
func (g *gate) secured(config *tls.Config) (tls.ConnectionState, error) {
	c, err := dialGate(g.address(0), "")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.conn.Close()
	err = errors.Join(c.expect("220 "), c.send("EHLO client.test"), c.expect("250"), c.send("STARTTLS"), c.expect("220 "))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	secret := tls.Client(c.conn, config)
	secret.SetDeadline(time.Now().Add(patience))
	if err := secret.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	c = newClient(secret)
	return secret.ConnectionState(), errors.Join(c.send("EHLO client.test"), c.expect("250"), c.quit())
}

// writeCertificate writes a certificate that has signed itself, and its key.
func writeCertificate(folder, name string, life time.Duration) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), DNSNames: []string{name},
		NotBefore: now.Add(-1000 * time.Hour), NotAfter: now.Add(life + time.Minute),
	}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{"chain.pem": {Type: "CERTIFICATE", Bytes: chain}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
