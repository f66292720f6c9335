// Session tickets. This file owns how one is sealed: AES-256-GCM, behind the name of its
// key, which is authenticated, too. The keys are the parent's: all rooms of this kind, of
// whatever generation or program, open what one has sealed.

package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// tickets seals and opens with a few keys. It does not change.
type tickets struct {
	keys []ticketKey // the first is for new ones
}

type ticketKey struct {
	id   string
	aead cipher.AEAD
}

func newTickets(keys []imsg.TicketKey) *tickets {
	t := new(tickets)
	for _, k := range keys {
		block, err := aes.NewCipher([]byte(k.Secret))
		if err != nil || len(k.ID) != imsg.TicketIDLen {
			continue
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err == nil {
			t.keys = append(t.keys, ticketKey{k.ID, aead})
		}
	}
	return t
}

func (t *tickets) none() bool { return len(t.keys) == 0 }

// seal seals a state; there must be a key.
func (t *tickets) seal(state string) string {
	k := &t.keys[0]
	return string(k.aead.Seal([]byte(k.id), nil, []byte(state), []byte(k.id)))
}

// open returns the state of a ticket, empty if it is none of ours.
func (t *tickets) open(ticket string) string {
	for i := range t.keys {
		k := &t.keys[i]
		sealed, ok := strings.CutPrefix(ticket, k.id)
		if !ok {
			continue
		}
		if state, err := k.aead.Open(nil, nil, []byte(sealed), []byte(k.id)); err == nil {
			return string(state)
		}
	}
	return ""
}
