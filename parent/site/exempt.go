// The file of exemptions: it is opened here, and lockd reads and writes it. It lies beside
// the lock directory, under that one's name, so that each daemon has its own.

package site

import (
	"fmt"
	"path/filepath"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// exemptPath is where it lies.
func (s *Site) exemptPath() string { return filepath.Clean(s.Inside(s.LockPath)) + ".exempt" }

// HandExemptions hands over the file, opened anew, and makes it if it is missing. A room
// does without one that cannot be opened.
func (s *Site) HandExemptions(tell Tell) {
	f, err := host.OpenPrivate(s.exemptPath())
	if err != nil {
		s.Log.Error("exemptions will be forgotten: their file cannot be opened", "error", fmt.Errorf("%s: %w", s.Called("lock_path"), err))
		return
	}
	tell(&imsg.ExemptFile{}, f)
	f.Close()
}
