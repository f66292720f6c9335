//go:build linux

package site

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// TestInheritControls: who takes over has the sockets of the program before, at their
// names and no others; one that it did not know is made.
func TestInheritControls(t *testing.T) {
	top := stage(t)
	at := func(options string) *Site {
		conf, _, err := config.Parse("f", []byte(strings.ReplaceAll("mode fixed\nfixed_server 192.0.2.25\npidfile $/run/pid\nstatefile $/run/state\n"+options, "$", top)))
		if err != nil {
			t.Fatal(err)
		}
		return &Site{Config: conf, Rooms: family, Log: &Log{Logger: slog.New(slog.NewTextHandler(new(imsgtest.Journal), nil))}}
	}
	elder, err := at("").Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer elder.RemoveNames()
	exists := func(name string, want bool) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(top, "run", name)); (err == nil) != want {
			t.Errorf("%s is there: %t", name, err == nil)
		}
	}
	estate := make(map[imsg.Room]Legacy)
	for _, c := range elder.Controls {
		estate[c.Role] = Legacy{File: c.File, Path: c.Path}
	}
	inherit := func(s *Site) (*Holdings, error) {
		return s.Inherit(new(socket.Set), estate, elder.Ledger, filepath.Join(top, "run/pid"))
	}

	heir, err := inherit(at(""))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range heir.Controls {
		if c.File != elder.Controls[i].File {
			t.Errorf("%s is another one", c.Path)
		}
	}
	heir.RemoveNames()
	exists("control", true)
	exists("status", true)

	for option, says := range map[string]string{
		"control_socket $/run/c\ncontrol_read_socket $/run/status": "control_socket: needs a restart: it is " + top + "/run/c now, and was " + top + "/run/control",
		"control_read_socket $/run/r":                              "control_read_socket: needs a restart: it is " + top + "/run/r now, and was " + top + "/run/status",
	} {
		if _, err := inherit(at(option)); err == nil || err.Error() != says {
			t.Errorf("%s: %v", option, err)
		}
	}

	delete(estate, imsg.Reader)
	if _, err := inherit(at("")); err == nil || !strings.Contains(err.Error(), "another daemon listens there") {
		t.Errorf("where somebody is: %v", err)
	}
	exists("control", true)
	elder.Controls[1].Remove()
	if heir, err = inherit(at("")); err != nil {
		t.Fatal(err)
	}
	exists("status", true)
	heir.RemoveNames()
	exists("control", true)
	exists("status", false)
}
