package session

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
	"github.com/smtp-gated/smtp-gated/session/relay"
	"github.com/smtp-gated/smtp-gated/session/verdict"
)

// Files that an operator has looked at. They take the way of a message to the scanners and
// to the verdict, and nothing follows: nobody is locked, reported or told of.

// maxFileScans is how many of them may be under way: sessions come first.
const maxFileScans = 4

// scanFile has a file looked at, and takes it over.
func (w *worker) scanFile(r link.Reply[imsg.FileVerdict]) {
	defer r.Close()
	select {
	case w.fileScans <- struct{}{}:
		defer func() { <-w.fileScans }()
	default:
		r.Fail(imsg.Busy)
		return
	}
	size, err := w.scannable(r.Files[0])
	if err != nil {
		r.Answer(&imsg.FileVerdict{Errno: imsg.Invalid, Detail: imsg.Printable(err.Error(), 200)})
		return
	}
	w.count(imsg.CountFilesScanned, 1)
	plan := verdict.New(w.cfg, size, verdict.Spared{}, process.Load)
	var findings []imsg.Finding
	if plan.Roles != 0 {
		findings = w.fileFindings(r, size, plan.Roles)
	}
	r.Answer(relay.FileVerdict(w.cfg, size, &plan, findings))
}

// scannable tells how large a file is that may be shown to scanners. They are handed the
// descriptor, and must not be able to write by it.
func (w *worker) scannable(f *os.File) (size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	mode, most := 0, int64(0)
	if cerr := raw.Control(func(fd uintptr) { mode, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); cerr != nil {
		return 0, cerr
	}
	if w.cfg.Antivirus {
		most = w.cfg.ScanMaxSize
	}
	if w.cfg.Antispam {
		most = max(most, w.cfg.SpamMaxSize)
	}
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("not a regular file")
	case mode&unix.O_ACCMODE != unix.O_RDONLY:
		return 0, fmt.Errorf("not open for reading alone")
	case most == 0:
		return 0, fmt.Errorf("no scanner is on")
	case info.Size() > most:
		return 0, fmt.Errorf("%d octets: no scanner looks at more than %d", info.Size(), most)
	}
	return info.Size(), nil
}

// fileFindings are what the scanners say of a file, or that they do not.
func (w *worker) fileFindings(r link.Reply[imsg.FileVerdict], size int64, roles imsg.Roles) []imsg.Finding {
	start := time.Now()
	limit := min(imsg.Limit(w.cfg.TimeoutScan), time.Until(r.Until))
	v, err := link.AskUntil(&w.scand, w.ending.Done(), &imsg.Scan{Size: size, Roles: roles}, limit, r.Files[0])
	if err == nil {
		return v.Findings
	}
	return relay.NoFindings(roles, err, time.Since(start))
}
