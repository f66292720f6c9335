package locks

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// What a lock file holds: the cause, and where somebody has said more than that, a second
// line of words, NAME=VALUE with blanks between them. Words that nobody knows are passed
// over: who wrote them knew more than we do.
//
//	OPERATOR
//	until=1764547200
//
// until is when the lock ends, in Unix seconds. Without it lock_duration says so.

const (
	// MaxCause bounds a lock file's first line when it is read.
	MaxCause = 255
	// maxContent bounds what is read of it at all.
	maxContent = 1 << 10
	// least is the size of the smallest file with a second line that says something.
	least = int64(len("\nuntil=1\n"))
	// maxSaid bounds how many lines that cannot be read are told of.
	maxSaid = 256
)

// Content is what a lock file says.
type Content struct {
	Cause string
	Until int64 // when the lock ends, Unix nanoseconds; 0: as lock_duration has it

	unread bool // it is not for us to read, and may say more
}

// text is the content as it is written.
func (c Content) text() string {
	text := imsg.Printable(c.Cause, MaxCause) + "\n"
	if c.Until > 0 {
		text += "until=" + strconv.FormatInt(c.Until/int64(time.Second), 10) + "\n"
	}
	return text
}

// parseContent reads what was read of a file. An error says that the second line counts as
// none.
func parseContent(text string) (c Content, err error) {
	first, rest, _ := strings.Cut(text, "\n")
	c.Cause = imsg.Printable(first[:min(len(first), MaxCause)], MaxCause)
	if rest == "" {
		return c, nil
	}
	line, _, whole := strings.Cut(rest, "\n")
	if !whole { // a full disk has cut it, and a number cut short is another
		return c, errors.New("its second line has no end")
	}
	until := int64(0)
	for word := range strings.FieldsSeq(line) {
		value, is := strings.CutPrefix(word, "until=")
		if !is {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || n == 0 || n > math.MaxInt64/uint64(time.Second) || until != 0 {
			return c, errors.New("its second line does not say until when")
		}
		until = int64(n) * int64(time.Second)
	}
	c.Until = until
	return c, nil
}

// Read reads what a lock file says, given what Lstat said of it. A file that is not there
// any more, or not for us to read, says nothing. An error tells that it could not be read
// this time.
func (l *Directory) Read(name string, info fs.FileInfo) (Content, error) {
	// O_NONBLOCK: a pipe may have taken the file's place.
	f, err := l.Files.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) && info.Size() >= least {
		l.sayOnce(name, err)
		return Content{unread: true}, nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ELOOP) {
		return Content{}, nil
	}
	if err != nil {
		return Content{}, err
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return Content{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxContent))
	if err != nil {
		return Content{}, err
	}
	c, err := parseContent(string(b))
	if err != nil {
		l.sayOnce(name, err)
	}
	return c, nil
}

// sayOnce says of a file that its second line counts as none.
func (l *Directory) sayOnce(name string, why error) {
	l.saidMu.Lock()
	defer l.saidMu.Unlock()
	if _, is := l.said[name]; is || len(l.said) == maxSaid {
		return
	}
	if l.said == nil {
		l.said = make(map[string]struct{})
	}
	l.said[name] = struct{}{}
	l.Log.Warn("lock lasts as others do", "name", name, "error", why)
}
