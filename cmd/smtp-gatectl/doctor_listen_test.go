package main

import (
	"context"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestDoctorListeners: where somebody else listens the daemon cannot start, and who that is
// is said if it can be known.
func TestDoctorListeners(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, free := l.Addr().String(), imsgtest.Port(t).String()
	try := func(listen string) []result {
		return probeListeners(context.Background(), patientWith(t, "mode fixed\nfixed_server 127.0.0.1\nlisten "+listen+"\n"))
	}
	same(t, "free", try(free), "listeners green")
	for _, at := range []string{taken, free + "," + taken, "0.0.0.0" + taken[strings.IndexByte(taken, ':'):]} {
		got := try(at)
		same(t, at, got, "listeners red")
		if me := strconv.Itoa(os.Getpid()); runtime.GOOS == "linux" && len(got) == 1 && !strings.HasSuffix(got[0].Text, ", process "+me) {
			t.Errorf("%s: %s, and it is process %s", at, got[0].Text, me)
		}
	}
	same(t, "nowhere", try("192.0.2.1:9199"), "listeners red")
	p := patientWith(t, "mode fixed\nfixed_server 127.0.0.1\nlisten "+taken+"\n")
	p.status = new(status)
	same(t, "it is ours", probeListeners(context.Background(), p), "listeners green")
}
