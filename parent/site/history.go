// The history: a file that is opened here, and that lockd reads and writes. Nothing here
// looks into it.

package site

import (
	"fmt"
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// openHistory opens the file, and makes it if it is missing; it is nil if there is to be
// none.
func (s *Site) openHistory() (*os.File, error) {
	if s.HistoryMax == 0 {
		return nil, nil
	}
	path := s.Inside(s.HistoryPath)
	err := host.MakeWay(path)
	var f *os.File
	if err == nil {
		f, err = host.OpenPrivate(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Called("history_path"), err)
	}
	return f, nil
}

// HandHistory hands over the history's file, if there is to be one, opened anew. A room
// does without one that cannot be opened; the error has been logged.
func (s *Site) HandHistory(tell Tell) error {
	f, err := s.openHistory()
	if err != nil {
		s.Log.Error("the history is kept in memory only: its file cannot be opened", "error", err)
	}
	if f != nil {
		tell(&imsg.HistoryFile{}, f)
		f.Close()
	}
	return err
}
