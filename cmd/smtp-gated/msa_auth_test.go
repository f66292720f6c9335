package main

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// password is that of everybody at the mail server, and the token.
const password = "good"

// authenticate answers AUTH where the server has the feature logins. What the mechanisms say is taken apart here, as plainly as can
// be, and not by the code that is tested.
func (s *service) authenticate(arg string) error {
	mechanism, initial, _ := strings.Cut(arg, " ")
	ask := func(challenge string) (string, error) {
		line := initial
		if initial = ""; line == "" {
			s.say("334 " + base64.StdEncoding.EncodeToString([]byte(challenge)))
			var err error
			if line, err = s.line(); err != nil {
				return "", err
			}
		}
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return "", nil
		}
		return string(b), nil
	}
	knows := false
	var err error
	var said string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		said, err = ask("")
		fields := strings.Split(said, "\x00")
		knows = len(fields) == 3 && fields[2] == password
	case "LOGIN":
		if _, err = ask("Username:"); err == nil {
			said, err = ask("Password:")
		}
		knows = said == password
	case "CRAM-MD5":
		const challenge = "<1.1@msa.test>"
		said, err = ask(challenge)
		mac := hmac.New(md5.New, []byte(password))
		mac.Write([]byte(challenge))
		knows = strings.HasSuffix(said, " "+hex.EncodeToString(mac.Sum(nil)))
	case "XOAUTH2", "OAUTHBEARER":
		said, err = ask("")
		knows = strings.Contains(said, "\x01auth=Bearer "+password+"\x01\x01")
	}
	if err != nil {
		return err
	}
	if knows {
		s.say("235 2.7.0 welcome")
	} else {
		s.say("535 5.7.8 no")
	}
	return nil
}

// asPlain is the command of a client that logs in.
func asPlain(name string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+password))
}
