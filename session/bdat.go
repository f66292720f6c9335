// A message sent in chunks (RFC 3030). This file owns the state of such a message
// and what each BDAT becomes: chunks go to the server and to the spool as they
// are, but never the word that ends the message. It comes from data.go, after
// the verdict.

package session

import (
	"math"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// chunks is how far a message in chunks has come.
type chunks struct {
	state chunkState
	left  int64 // octets to come of the chunk under way
	last  bool  // that chunk ends the message
}

type chunkState uint8

const (
	noChunks     chunkState = iota
	openChunks              // a message has begun: the server holds octets as soon as its header is sent
	failedChunks            // the server was reset; chunks are refused until LAST, RSET, MAIL or a HELO
)

// bdat decides on one BDAT. Until it is accepted its octets are discarded,
// so that a refused chunk is never read as commands.
func (s *session) bdat(out *[]byte, arg []byte) step {
	cfg := s.w.cfg
	size, last, err := smtp.ParseBDAT(arg)
	if size == math.MaxInt64 {
		return s.refuseAndClose(out, smtp.CodeArgument, s.text(imsg.MsgProtoError))
	}
	s.discardLeft = size
	if !cfg.ScanChunks {
		return s.refuseMasked(out, "BDAT", smtp.CodeUnsupported)
	}
	if s.chunks.state == noChunks {
		// What the server offers and whom it sends to must be known: one
		// that does not speak CHUNKING would read octets as commands.
		if !s.awaitReplies(out) {
			return stop
		}
		if smtp.Cap(s.offered.Load())&smtp.CapChunking == 0 {
			return s.reply(out, smtp.CodeUnsupported, s.text(imsg.MsgUnimplCommand))
		}
	}
	if err != nil {
		return s.refuseChunk(out, last, smtp.CodeArgument, s.text(imsg.MsgProtoError))
	}
	if s.chunks.state == failedChunks || s.chunks.state == openChunks && s.chunkRefused.Load() {
		return s.refuseChunk(out, last, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
	}
	had := int64(0)
	if s.chunks.state == openChunks {
		had = s.message.size
	}
	if cfg.SizeLimit > 0 && size > cfg.SizeLimit-had {
		s.info("message over size_limit", "size", had, "chunk", size, "src", s.src.Addr(), "ident", s.ident)
		return s.refuseChunk(out, last, smtp.CodeSize, s.text(imsg.MsgSizeLimit))
	}
	if s.chunks.state == noChunks {
		if next := s.startChunks(out, last); next != goOn || s.chunks.state != openChunks {
			return next
		}
	}
	return s.forwardChunk(out, size, last)
}

// startChunks starts a message, if it may start: state tells afterwards.
func (s *session) startChunks(out *[]byte, last bool) step {
	if s.recipients() == 0 {
		return s.refuseChunk(out, last, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
	}
	if !s.maySend(out) {
		return s.refuseChunk(out, last, smtp.CodeAuthRequired, s.text(imsg.MsgAuthRequired))
	}
	if denied := s.useQuota(out, imsg.RateMessages, 1, smtp.CodeQuota); denied != nil {
		return s.refuseChunk(out, last, denied.code, denied.text)
	}
	s.debug("DATA:REQUEST")
	if err := s.beginMessage(); err != nil {
		return s.refuseNoSpool(out, err)
	}
	s.message.chunked = true
	s.chunkRefused.Store(false)
	s.chunkAnswered.Store(false)
	s.setChunks(openChunks)
	return goOn
}

// forwardChunk lets a chunk's octets through. The last one goes out like any
// other, and nothing at all goes out for one that is empty: some servers refuse it
// (Exim with 504). What stands before the first one is decided by its octets.
func (s *session) forwardChunk(out *[]byte, size int64, last bool) step {
	s.chunks.left, s.chunks.last = size, last
	headed := s.message.headerSent
	if size == 0 && !last {
		return s.emptyChunk(out)
	}
	if size == 0 && !headed {
		if next := s.sendChunkHeader(out, smtp.StartField); next != goOn || s.chunks.state != openChunks {
			return next
		}
	}
	if size == 0 {
		return s.endChunk(out)
	}
	if headed {
		s.forwardBDAT(out)
	}
	s.discardLeft = 0
	s.setPhase(octets)
	return goOn
}

// emptyChunk takes a chunk without octets, if the server took those before it.
func (s *session) emptyChunk(out *[]byte) step {
	if !s.awaitReplies(out) {
		return stop
	}
	if s.chunkRefused.Load() {
		return s.refuseChunk(out, false, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
	}
	return s.reply(out, smtp.CodeOK, "OK")
}

// sendChunkHeader sends what stands before a message that begins so, the NAT header as
// a chunk of its own. A server that refuses it has thereby answered the client,
// and gets none of the client's octets: state tells afterwards.
func (s *session) sendChunkHeader(out *[]byte, begins smtp.Start) step {
	// A spool that fails is told at the end: see relayChunk.
	header, _ := s.appendHeader(nil, begins)
	if len(header) > 0 {
		s.forward(out, smtp.AppendBDAT(nil, int64(len(header))), entry{kind: quietChunk}, false)
		*out = append(*out, header...)
		if !s.awaitReplies(out) {
			return stop
		}
		if s.chunkRefused.Load() {
			s.failChunks(out, s.chunks.last)
			return goOn
		}
	}
	s.trns.Add(1)
	s.state.Store(uint32(imsg.StateBDAT))
	s.debug("DATA:GOING")
	return goOn
}

// forwardBDAT tells the server of the octets that follow.
func (s *session) forwardBDAT(out *[]byte) {
	e := entry{kind: chunk}
	if s.chunks.last {
		e.kind = quietChunk
	}
	s.forward(out, smtp.AppendBDAT(nil, s.chunks.left), e, false)
}

// firstChunk decides by the octets of the first chunk what stands before it. Until
// the server is told of them they are discarded, as in bdat.
func (s *session) firstChunk(out *[]byte, in []byte) step {
	begins := smtp.ChunkStart(in, int64(len(in)) == s.chunks.left)
	if begins == smtp.StartUnknown {
		return needMore
	}
	s.setPhase(commands)
	s.discardLeft = s.chunks.left
	if next := s.sendChunkHeader(out, begins); next != goOn || s.chunks.state != openChunks {
		return next
	}
	s.forwardBDAT(out)
	s.discardLeft = 0
	s.setPhase(octets)
	return goOn
}

// relayChunk moves what is buffered of a chunk.
func (s *session) relayChunk(out *[]byte) step {
	m := &s.message
	in := s.client.Bytes()
	in = in[:min(s.chunks.left, int64(len(in)))]
	if !m.headerSent {
		return s.firstChunk(out, in)
	}
	*out = append(*out, in...)
	m.size += int64(len(in))
	if m.spool {
		// A spool that fails is told at the end: in the middle of a chunk
		// nobody could be told in turn.
		s.spoolText(in)
	}
	s.chunks.left -= int64(len(in))
	s.client.Consume(len(in))
	if s.chunks.left > 0 {
		return goOn
	}
	return s.endChunk(out)
}

// endChunk is behind the last octet of a chunk; behind the last chunk it waits
// for the server to have taken everything and goes on to the verdict.
func (s *session) endChunk(out *[]byte) step {
	s.setPhase(commands)
	if !s.chunks.last {
		return goOn
	}
	if !s.awaitReplies(out) {
		return stop
	}
	if !s.chunkRefused.Load() {
		s.setChunks(noChunks)
		return s.endText(out)
	}
	if s.failChunks(out, true); s.chunkAnswered.Load() {
		return goOn
	}
	return s.reply(out, smtp.CodeSequence, s.text(imsg.MsgTransactionFailed))
}

// refuseChunk answers a chunk ourselves; its message has failed.
func (s *session) refuseChunk(out *[]byte, last bool, code smtp.Code, text string) step {
	s.failChunks(out, last)
	return s.reply(out, code, text)
}

// failChunks gives a message in chunks up. The server is reset at once: neither
// what it holds nor its recipients may become part of another message.
func (s *session) failChunks(out *[]byte, last bool) {
	if s.chunks.state != failedChunks {
		s.spool.Finish(false)
		s.forward(out, []byte("RSET"), entry{kind: ownReset}, false)
	}
	s.setChunks(failedChunks)
	if last {
		s.setChunks(noChunks)
	}
}

// abandonChunks is called before a command that ends a transaction is forwarded.
func (s *session) abandonChunks(out *[]byte) {
	if s.chunks.state != noChunks {
		s.failChunks(out, true)
	}
}

// resetChunks has the client's RSET decide on a message in chunks: one that the
// server did not take leaves it as it is.
func (s *session) resetChunks(out *[]byte) {
	if s.awaitReplies(out) && (s.chunks.state == failedChunks || s.recipients() == 0) {
		s.spool.Finish(false)
		s.setChunks(noChunks)
	}
}

// setChunks: the server's goroutine looks at the state, too.
func (s *session) setChunks(state chunkState) {
	s.mu.Lock()
	s.chunks.state = state
	s.mu.Unlock()
}

func (s *session) setPhase(p phase) {
	s.mu.Lock()
	s.phase = p
	s.mu.Unlock()
}
