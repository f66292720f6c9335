package main

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

func TestRoomsCommand(t *testing.T) {
	restarts := make([]uint64, imsg.AllRooms)
	restarts[imsg.Session] = 3
	socket := lockdAt(t, func(r link.Request) {
		now := time.Now().UnixNano()
		family.Answer(r, &imsg.StatusReport{Now: now, Family: imsg.Family{Restarts: restarts, Rooms: []imsg.Member{
			{Room: imsg.Session, Member: 4, PID: os.Getpid(), Generation: 2, State: imsg.Running, Started: now - hour},
			{Room: imsg.Lockd, Member: 1, PID: 1 << 30, Generation: 1, State: imsg.Draining, Started: now},
		}}})
	})
	code, out, errs := gatectl("rooms", "--socket", socket)
	lines := strings.Split(out, "\n")
	if code != exitOK || len(lines) != 4 {
		t.Fatalf("exit %d: %s%s", code, errs, out)
	}
	if f := strings.Join(strings.Fields(lines[2]), " "); !strings.HasSuffix(f, "- draining 1 0s 0 - - - -") {
		t.Errorf("%q", f)
	}
	_, out, _ = gatectl("rooms", "--json", "--socket", socket)
	var list []roomProcess
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	if r := list[1]; r.UID != nil || r.Layers != nil || r.Memory != nil || r.Files != nil || r.Restarts != 0 {
		t.Errorf("%+v", r)
	}
	r := list[0]
	if r.Restarts != 3 || r.Member != 4 || r.State != "running" {
		t.Errorf("%+v", r)
	}
	if runtime.GOOS != "linux" {
		return
	}
	if r.UID == nil || *r.UID != os.Geteuid() || r.Memory == nil || *r.Memory < 1<<20 || *r.Peak < *r.Memory || *r.Files < 3 || *r.MaxFiles < *r.Files || r.Layers == nil {
		t.Errorf("%s", out)
	}
}

// TestRoomsLayers: what holds a room is told by what the kernel shows of it, and Landlock,
// which it does not show, by what the daemon says.
func TestRoomsLayers(t *testing.T) {
	for _, row := range []struct {
		layers, lacks []string
		want          string
	}{
		{nil, nil, "-"},
		{[]string{}, nil, "nothing"},
		{[]string{"chroot", "no_new_privs"}, nil, "chroot no_new_privs"},
		{[]string{"chroot", "seccomp"}, nil, "chroot seccomp landlock"},
		{[]string{"chroot", "seccomp"}, []string{sandbox.LacksLandlock}, "chroot seccomp"},
	} {
		s := &status{Lacks: row.lacks, Rooms: []room{{Name: "scand"}}}
		var b strings.Builder
		if err := printProcesses(&b, s.processes(func(int) process { return process{Layers: row.layers} }), s.Now); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(strings.TrimSpace(b.String()), " "+row.want) {
			t.Errorf("%+v: %s", row, b.String())
		}
	}
}
