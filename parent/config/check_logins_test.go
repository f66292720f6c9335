package config

import (
	"strings"
	"testing"
)

// TestLoginsUnseen: what cannot go by logins is named as the reader's file has it.
func TestLoginsUnseen(t *testing.T) {
	for text, want := range map[string]string{
		"mode fixed\nfixed_server 192.0.2.25\nauth_skip direct\nlock_by login\n":                                           "auth_skip: with direct a session is not seen any more once its client has logged in, and nothing can go by logins, as lock_by says: ",
		"[target]\nmode = \"fixed\"\nserver = \"192.0.2.25\"\n[smtp]\nauth_skip = [\"direct\"]\n[rate]\nby = \"login\"\n":  "smtp.auth_skip: with direct a session is not seen any more once its client has logged in, and nothing can go by logins, as rate.by says: ",
		"[target]\nmode = \"fixed\"\nserver = \"192.0.2.25\"\n[smtp]\nauth_skip = [\"direct\"]\n[limits]\nper_login = 3\n": "smtp.auth_skip: with direct a session is not seen any more once its client has logged in, and nothing can go by logins, as limits.per_login says: ",
	} {
		if err := parsed(t, text).Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
