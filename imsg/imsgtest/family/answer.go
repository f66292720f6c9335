package family

import (
	"fmt"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// Answer answers the question that r brought. It panics if that is not what answers
// it: a room that a test plays says nothing else by mistake.
func Answer[A any](r link.Request, a *A) {
	q, ok := r.Message.(imsg.Question[A])
	if !ok {
		panic(fmt.Sprintf("%T is not answered by %T", r.Message, a))
	}
	link.ReplyTo(r, q).Answer(a)
}
