// A recorded dialogue as it is played. It goes in lock-step: nobody says a word
// before what was said last has had its effect, so that what is heard does not
// depend on who is faster. What an effect is shows at either side of the gateway;
// nothing is waited for that the clock alone would bring.

package session

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// dialogue is one session to be recorded: what its parties are going to do.
type dialogue struct {
	name  string
	plan  *plan
	turns []func(*play)
	mute  bool           // the server holds its greeting back
	texts []recordedText // one for each 354
	auth  []string       // one line for each 334
	msa   msa

	refusal    imsg.Refusal                     // of the connection
	unnamed    imsg.Refusal                     // of the ident
	over       map[imsg.Rate]quotaUse           // what quotas come to; those named are asked for
	verdicts   []func(link.Request, *imsg.Scan) // one for each scan, over and over
	atScan     string                           // the server says it while a message is scanned
	restAtScan bool                             // it says the rest of an answer behind the verdict
}

// quotaUse is from which use on a quota is used up, and what lockd says then.
type quotaUse struct {
	from    int
	refusal imsg.Refusal
	errno   imsg.Errno
}

// recordedText is what a client says behind a 354.
type recordedText struct {
	pieces []string // each ends with a line of its own that the server hears
	says   bool     // in the last of them the server is to say something
	locked bool     // the client is locked before it comes to the end
	end    []string // the end, and commands in one go with it; none: the client goes
	goes   func(*play)
}

// play is a dialogue being played.
type play struct {
	*dialogue
	house  *recordHouse
	number uint64

	mu      sync.Mutex
	cond    *sync.Cond
	client  voice
	server  voice
	late    bool     // something did not come in time
	said    []string // by the client
	replies []string // the last lines of those the client heard
	read    int      // of what it heard
	asked   []string // by the client's side of the session, of other rooms
	charged []string // by the server's side
	uses    map[imsg.Rate]int
	scans   int
	left    chan bool
}

// voice is one end of the gateway: what it said, and whether it says no more.
type voice struct {
	conn  *net.TCPConn
	heard []byte
	over  bool
}

// listen takes down what one side of the gateway says.
func (p *play) listen(v *voice, hears func([]byte)) {
	for b := make([]byte, 32<<10); ; {
		n, err := v.conn.Read(b)
		p.mu.Lock()
		v.heard = append(v.heard, b[:n]...)
		if n > 0 {
			hears(b[:n])
		}
		if err != nil {
			v.over = true
			p.late = p.late || isTimeout(err)
		}
		if err != nil && v == &p.server && !p.msa.hold && !p.msa.waits {
			v.conn.Close()
		}
		p.cond.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// count notes the replies that are complete.
func (p *play) count([]byte) {
	for {
		line, _, ok := bytes.Cut(p.client.heard[p.read:], []byte("\n"))
		if !ok {
			return
		}
		p.read += len(line) + 1
		if len(line) < 4 || line[3] != '-' {
			p.replies = append(p.replies, string(line))
		}
	}
}

// await waits until something is so, or the client hears nothing more.
func (p *play) await(is func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.client.over && !p.late && !is() {
		p.cond.Wait()
	}
}

// awaitEnd waits until the client hears nothing more.
func (p *play) awaitEnd() { p.await(func() bool { return false }) }

// isOver tells whether there is nobody to talk to.
func (p *play) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client.over || p.late
}

func (p *play) heardReplies() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.replies)
}

// code is that of the i-th reply, or of the last one.
func (p *play) code(i int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i >= len(p.replies) {
		return ""
	}
	if i < 0 {
		i = len(p.replies) - 1
	}
	return p.replies[i][:min(3, len(p.replies[i]))]
}

func (p *play) says(text string) {
	if p.isOver() {
		return
	}
	p.said = append(p.said, text)
	io.WriteString(p.client.conn, text)
}

// lastWords are replies behind which the connection ends.
var lastWords = regexp.MustCompile(`^(421 |221 .*(bye|gate\.example)|554 .*gate\.example|451 .*msg_virus_locked)`)

// awaitReplies waits for the n-th reply, and for what comes of it: a server that
// has had its outburst is let go.
func (p *play) awaitReplies(n int) {
	p.await(func() bool { return len(p.replies) >= n && (!p.msa.struck || p.server.over) })
	p.settle()
}

// settle waits for the end, if there is going to be one: behind last words, and
// where the server has had its outburst, unless that was the answer to a message,
// or the gateway has said QUIT to it and answers in its place.
func (p *play) settle() {
	p.mu.Lock()
	last := len(p.replies) > 0 && lastWords.MatchString(p.replies[len(p.replies)-1])
	if m := &p.msa; m.struck && p.server.over && !m.answered {
		last = last || !bytes.HasSuffix(p.server.heard[m.struckAt:], []byte("QUIT\r\n"))
	}
	p.mu.Unlock()
	if last {
		p.awaitEnd()
	}
}

// follow goes on with what a reply asks for: a response, a text.
func (p *play) follow() {
	for !p.isOver() {
		switch p.code(-1) {
		case "334":
			response := "*\r\n"
			if len(p.auth) > 0 {
				response, p.auth = p.auth[0], p.auth[1:]
			}
			n := p.heardReplies()
			p.says(response)
			p.awaitReplies(n + 1)
		case "354":
			p.text(p.heardReplies())
		default:
			return
		}
	}
}

// text says a message behind a 354, which was the n-th reply.
func (p *play) text(n int) {
	t := recordedText{end: []string{".\r\n"}}
	if len(p.texts) > 0 {
		t, p.texts = p.texts[0], p.texts[1:]
	}
	for i, piece := range t.pieces {
		p.says(piece)
		mark := []byte(piece[strings.LastIndexByte(strings.TrimSuffix(piece, "\r\n"), '\n')+1:])
		says := t.says && i == len(t.pieces)-1
		p.await(func() bool {
			return len(p.replies) > n || p.server.over && p.msa.struck || bytes.HasSuffix(p.server.heard, mark) && (!says || p.msa.struck)
		})
		if says {
			p.sayRest()
		}
		p.settle()
	}
	if t.locked {
		p.lock()
	}
	if t.end == nil {
		t.goes(p)
		return
	}
	p.says(strings.Join(t.end, ""))
	p.awaitReplies(n + len(t.end))
}

// sayRest has the server say what its answer to a message lacks, unless it is to come
// with the verdict.
func (p *play) sayRest() {
	p.mu.Lock()
	if p.msa.struck && p.restAtScan {
		p.mu.Unlock()
		return
	}
	p.msa.sayRest()
	p.mu.Unlock()
	p.await(func() bool { return p.server.over })
}

// lock has lockd say that the client got locked, and sees to it that the worker
// knows.
func (p *play) lock() {
	p.house.lockd.Send(&imsg.Locked{Numbers: []uint64{p.number}})
	if _, err := link.Ask(p.house.lockd, &imsg.Snapshot{}, imsgtest.Patience); err != nil {
		p.late = true
	}
}

// part is said before the client goes. Its last reply may be the gateway's to deliver
// still, and then the server is told first: it waits, so that it is the client who
// ends the session. A direct proxy needs both.
func (p *play) part(how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	direct := p.msa.tls || p.plan.direct && slices.ContainsFunc(p.replies, func(line string) bool { return strings.HasPrefix(line, "235") })
	p.msa.waits = !direct
	if how != "" {
		p.said = append(p.said, how)
	}
}

// leave has the client go.
func (p *play) leave() {
	p.part("(goes)")
	p.client.conn.Close()
	p.awaitEnd()
}

// reset has the client go with a reset.
func (p *play) reset() {
	p.part("(resets)")
	p.client.conn.SetLinger(0)
	p.client.conn.Close()
	p.awaitEnd()
}

// closeHalf has the client say no more, and hear what there is.
func (p *play) closeHalf() {
	p.part("(says no more)")
	p.client.conn.CloseWrite()
	p.awaitEnd()
}
