package control

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// scanFile has a worker find out what it would do with a file. lockd does not look at it.
func (s *Service) scanFile(r link.Request) (*imsg.FileVerdict, error) {
	defer r.Close()
	w := s.House.Newest()
	if w == nil {
		return nil, imsg.Busy
	}
	v, err := link.Ask(w, &imsg.ScanFile{}, time.Until(r.Until), r.Files[0])
	if err == imsg.Gone { // another one will take its place
		err = imsg.Busy
	}
	return v, err
}
