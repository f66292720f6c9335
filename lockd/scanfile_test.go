package lockd

import (
	"io"
	"os"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestScanNow: a file goes to a worker of the configuration in force, and nowhere else.
func TestScanNow(t *testing.T) {
	h := open(t, plan{config: usual()})
	c := h.operators()()
	scan := func() (*imsg.FileVerdict, error) {
		f := imsgtest.TempFile(t)
		io.WriteString(f, "a message")
		return link.Ask(c, &imsg.ScanNow{}, patience, f)
	}
	if _, err := scan(); err != imsg.Busy {
		t.Errorf("without a worker: %v", err)
	}
	asked := make(chan int, 3)
	var workers []*testWorker
	for member := range 3 {
		w := h.worker(member)
		w.change(func() {
			w.scans = func(f *os.File) *imsg.FileVerdict {
				b, _ := io.ReadAll(io.NewSectionReader(f, 0, 100))
				asked <- member
				return &imsg.FileVerdict{Reply: string(b)}
			}
		})
		workers = append(workers, w)
	}
	h.Tell(&imsg.Family{Rooms: []imsg.Member{
		{Room: imsg.Session, Member: 0, State: imsg.Draining, Generation: 1},
		{Room: imsg.Session, Member: 1, State: imsg.Running, Generation: 2},
		{Room: imsg.Session, Member: 2, State: imsg.Starting, Generation: 3},
	}})
	imsgtest.Until(t, "the news of the family", func() bool {
		v, err := scan()
		return err == nil && v.Reply == "a message"
	})
	if n := imsgtest.Receive(t, "the one asked", asked); n != 1 {
		t.Errorf("worker %d was asked", n)
	}
	workers[1].change(func() { workers[1].scans = nil })
	go workers[1].Close()
	if v, err := scan(); err != imsg.Busy {
		t.Errorf("of one that is gone: %+v, %v", v, err)
	}
}
