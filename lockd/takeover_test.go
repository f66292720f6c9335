package lockd

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestTakeOver: a lockd from which another takes over ends when the last worker has gone
// over and all is done that was said; the other goes on where it was, with the same
// numbers, counts, records and sessions.
func TestTakeOver(t *testing.T) {
	ledger, err := os.Create(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	p := plan{config: limited(map[imsg.Rate]uint64{imsg.RateMessages: 3}), dir: t.TempDir(), counterFile: ledger, rates: storePath(t)}
	p.config.MaxPerHost = 1
	old := open(t, p)
	dir, dial := old.freezing(), old.operators()
	dial().Close()
	one, two := old.worker(1), old.worker(2)
	stays, goes := one.enter("198.51.100.1"), two.enter("198.51.100.2")
	if r := one.use(stays.Number, imsg.RateMessages, 2); r != imsg.Admitted {
		t.Fatal(r)
	}
	one.say(&imsg.Counts{Add: []uint64{5}})

	dir.freeze("")
	old.Tell(&imsg.Drain{})
	one.Close()
	select {
	case <-old.Ended:
		t.Fatal("it ends before its last worker")
	default:
	}
	// Its last words take their time.
	if a := two.enter("198.51.100.2"); a.Refusal != imsg.RefusedHost {
		t.Error(a.Refusal)
	}
	two.say(&imsg.Leave{Number: goes.Number})
	two.Close()
	eventually(t, "a look at the disk", func() bool { n, _ := dir.waiting(); return n > 0 })
	select {
	case <-old.Ended:
		t.Fatal("it ends before all is done")
	default:
	}
	dir.thaw()
	if err := imsgtest.Receive(t, "its end", old.Ended); err != nil {
		t.Error(err)
	}
	old.Ended <- nil
	if _, err := os.Stat(filepath.Join(p.dir, "198.51.100.2")); err != nil {
		t.Error("its last lock:", err)
	}

	heir := open(t, p)
	again := heir.hire(1)
	again.say(&imsg.Announce{Sessions: []imsg.LiveSession{{Number: stays.Number, Client: at("198.51.100.1")}}, Last: true})
	// It is let in when the store is open.
	if a := again.enter("198.51.100.3"); a.Refusal != imsg.Admitted || a.Number <= goes.Number {
		t.Errorf("a new one: %+v", a)
	}
	if r := again.use(stays.Number, imsg.RateMessages, 1); r != imsg.Admitted {
		t.Error("the last use of the quota:", r)
	}
	if r := again.use(stays.Number, imsg.RateMessages, 1); r != imsg.RefusedRate {
		t.Error("a use that is over the quota:", r)
	}
	if a := again.enter("198.51.100.1"); a.Refusal != imsg.RefusedHost {
		t.Error("a second one of the same host:", a.Refusal)
	}
	if n := heir.server.counters.Entry().Counts[0]; n != 5 {
		t.Errorf("%d are counted", n)
	}
}

// TestTakeOverWithoutSome: a worker that does not go over to another lockd, for it hangs or
// came late, keeps the first from its end for a while only.
func TestTakeOverWithoutSome(t *testing.T) {
	old := open(t, plan{config: usual(), leaveWait: time.Millisecond})
	old.worker(1)
	old.Tell(&imsg.Drain{})
	if err := imsgtest.Receive(t, "its end", old.Ended); err != nil {
		t.Error(err)
	}
	old.Ended <- nil
}
