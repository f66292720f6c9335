package relay

import (
	"math"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/session/smtp"
)

// This file owns a message sent in chunks (RFC 3030): what each BDAT becomes. Chunks go
// to the server and to the spool as they are, but never the word that ends the message:
// it is end.go's.

// chunk is the one under way.
type chunk struct {
	left   int64 // octets to come
	last   bool  // it ends the message
	err    error
	begins smtp.Start // how the message begins
}

// chunkState is how far a message in chunks has come.
type chunkState uint8

const (
	noChunks     chunkState = iota
	openChunks              // a message has begun: the server holds octets as soon as its header is sent
	failedChunks            // the server was reset; chunks are refused until LAST, RSET, MAIL or a HELO
)

// readChunkSize reads a BDAT. Until the chunk is accepted its octets are discarded, so
// that a refused one is never read as commands.
func (c *client) readChunkSize() (done bool) {
	size, last, err := smtp.ParseBDAT(c.command.Arg)
	c.chunk = chunk{left: size, last: last, err: err}
	if size == math.MaxInt64 {
		c.refuseAndClose(imsg.RuleProtocol, smtp.CodeArgument, c.text(imsg.MsgProtoError))
		return true
	}
	if c.discard = size; !c.Config.ScanChunks {
		c.refuseMasked("BDAT", smtp.CodeUnsupported)
	}
	return true
}

// checkOffered: what the server offers and whom it sends to must be known. One that
// does not speak CHUNKING would read octets as commands.
func (c *client) checkOffered() (done bool) {
	if c.chunks != noChunks {
		return true
	}
	if !c.repliesIn() {
		return false
	}
	if c.offered&smtp.CapChunking == 0 {
		c.reply(imsg.RuleMasked, smtp.CodeUnsupported, c.text(imsg.MsgUnimplCommand))
	}
	return true
}

// checkChunk refuses a chunk that is malformed, out of order or too large.
func (c *client) checkChunk() (done bool) {
	had := int64(0)
	if c.chunks == openChunks {
		had = c.message().size
	}
	switch limit := c.Config.SizeLimit; {
	case c.chunk.err != nil:
		c.refuse(imsg.RuleProtocol, smtp.CodeArgument, c.text(imsg.MsgProtoError))
	case c.chunks == failedChunks, c.chunks == openChunks && c.message().refused:
		c.refuse(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
	case limit > 0 && c.chunk.left > limit-had && !c.sizeMonitored():
		c.info("message too large", "size", had, "chunk", c.chunk.left, "src", c.Client.Addr(), "ident", c.Ident)
		c.refuse(imsg.RuleSize, smtp.CodeSize, c.tooLarge().text)
	case c.chunks == noChunks && (c.transaction == nil || c.transaction.recipients == 0):
		c.refuse(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
	}
	return true
}

// forwardChunk lets a chunk's octets through. The last one goes out like any other, and
// nothing at all goes out for one that is empty: some servers refuse it (Exim with
// 504). What stands before the first one is decided by its octets.
func (c *client) forwardChunk() (done bool) {
	switch headed := c.message().headerSent; {
	case c.chunk.left > 0:
		if headed {
			c.forwardBDAT()
		}
		c.command.open = false
		c.discard = 0
		c.reading = octets
	case !c.chunk.last:
		c.do((*client).repliesIn, (*client).takeEmpty)
	case headed:
		c.command.open = false
		c.do((*client).endChunk)
	default:
		c.command.open = false
		c.chunk.begins = smtp.StartField
		c.do((*client).sendHeader, (*client).headerTaken, (*client).endChunk)
	}
	return true
}

// takeEmpty takes a chunk without octets, if the server took those before it.
func (c *client) takeEmpty() (done bool) {
	if c.message().refused {
		c.refuse(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
	} else {
		c.reply(imsg.NoRule, smtp.CodeOK, "OK")
	}
	return true
}

// sendHeader sends what stands before the message: the NAT header, as a chunk of its
// own.
func (c *client) sendHeader() (done bool) {
	if header := c.appendHeader(nil, c.chunk.begins); len(header) > 0 {
		c.forward(smtp.AppendBDAT(nil, int64(len(header))), entry{kind: quietChunk})
		c.writeOctets(Server, header)
	}
	return true
}

// headerTaken waits for the server to have taken the header. One that refuses it has
// thereby answered the client, and gets none of the client's octets.
func (c *client) headerTaken() (done bool) {
	if !c.repliesIn() {
		return false
	}
	if c.message().refused {
		c.failChunks(c.chunk.last)
		c.do()
		return true
	}
	c.transactions++
	c.state = imsg.StateBDAT
	c.debug("DATA:GOING")
	return true
}

// forwardBDAT tells the server of the octets that follow.
func (c *client) forwardBDAT() {
	e := entry{kind: chunkSent}
	if c.chunk.last {
		e.kind = quietChunk
	}
	c.forward(smtp.AppendBDAT(nil, c.chunk.left), e)
}

// readChunk moves what has come of a chunk.
func (c *client) readChunk(in []byte) (n int, ok bool) {
	m := c.message()
	in = in[:min(c.chunk.left, int64(len(in)))]
	if !m.headerSent {
		return 0, c.firstChunk(in)
	}
	if c.lends() {
		c.lend(in, m.spool)
	} else {
		in = in[:min(len(in), MaxInput)]
		c.writeOctets(Server, in)
		if m.spool {
			b := c.spoolText()
			*b = append(*b, in...)
		}
	}
	c.Trace.octets(fromClient, len(in))
	m.header.Show(in)
	c.grow(len(in))
	if c.chunk.left -= int64(len(in)); c.chunk.left == 0 {
		c.do((*client).endChunk)
	}
	return len(in), true
}

// firstChunk decides by the octets of the first chunk what stands before it. Until the
// server is told of them they are discarded, as in readChunkSize. False: there are too
// few of them to tell.
func (c *client) firstChunk(in []byte) bool {
	begins := smtp.ChunkStart(in, int64(len(in)) == c.chunk.left)
	if begins == smtp.StartUnknown {
		return false
	}
	c.reading, c.discard, c.chunk.begins = commands, c.chunk.left, begins
	c.do((*client).sendHeader, (*client).headerTaken, (*client).sendFirst)
	return true
}

func (c *client) sendFirst() (done bool) {
	c.forwardBDAT()
	c.discard, c.reading = 0, octets
	return true
}

// endChunk is behind the last octet of a chunk; behind the last chunk it waits for the
// server to have taken everything and goes on to the verdict.
func (c *client) endChunk() (done bool) {
	c.reading = commands
	if !c.chunk.last {
		return true
	}
	if !c.repliesIn() {
		return false
	}
	if !c.message().refused {
		c.chunks = noChunks
		c.judge()
		return true
	}
	answered := c.message().answered
	if c.failChunks(true); !answered {
		c.reply(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
	}
	return true
}

// discardChunk drops octets of a refused chunk, and says what there is to be said
// behind them.
func (c *client) discardChunk(in []byte) (n int) {
	n = int(min(c.discard, int64(len(in))))
	c.Trace.octets(fromClient, n)
	if c.discard -= int64(n); c.discard == 0 && c.discardReply != nil {
		c.answer(c.discardReply)
		c.discardReply = nil
	}
	return n
}

// failChunks gives a message in chunks up. The server is reset at once: neither what
// it holds nor its recipients may become part of another message.
func (c *client) failChunks(last bool) {
	if c.chunks != failedChunks {
		c.dropMessage()
		c.forward([]byte("RSET"), entry{kind: ownReset})
	}
	c.chunks = failedChunks
	if last {
		c.chunks = noChunks
	}
}

// abandonChunks is done before a command that ends a transaction is forwarded.
func (c *client) abandonChunks() (done bool) {
	if c.chunks != noChunks {
		c.failChunks(true)
	}
	return true
}

// outsideChunks refuses MAIL inside a message in chunks; one that has failed ends.
func (c *client) outsideChunks() (done bool) {
	if c.chunks == openChunks && !c.message().refused {
		c.reply(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
		return true
	}
	return c.abandonChunks()
}

// withoutChunks refuses DATA behind chunks.
func (c *client) withoutChunks() (done bool) {
	if c.chunks != noChunks {
		c.reply(imsg.RuleProtocol, smtp.CodeSequence, c.text(imsg.MsgTransactionFailed))
	}
	return true
}

// resetChunks has the client's RSET decide on a message in chunks: one that the server
// did not take leaves it as it is.
func (c *client) resetChunks() (done bool) {
	if c.chunks == noChunks {
		return true
	}
	if !c.repliesIn() {
		return false
	}
	if c.chunks == failedChunks || c.transaction == nil || c.transaction.recipients == 0 {
		c.dropMessage()
		c.chunks = noChunks
	}
	return true
}
