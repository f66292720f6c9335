package stream

// This file owns the direct proxy's way: octets that nobody looks at.

// Move moves what has come to another stream: what is buffered first, and then past the
// buffers of both where the kernel can move it and there is no TLS. It returns how many
// octets it has read off the connection. The error is ErrAgain when there is nothing to do
// until one of the two has news, io.EOF at this side's end, when all before it has been
// written, net.ErrClosed, or the system's.
func (t *Stream) Move(to *Stream) (n int, err error) {
	if b := t.Bytes(); len(b) > 0 {
		k, err := to.Write(b)
		t.Consume(k)
		return 0, err
	}
	if to.tls != nil {
		if err := to.flush(); err != nil {
			return 0, err
		}
	}
	if canSplice && t.tls == nil && to.tls == nil {
		n, err = t.splice(to)
		t.received.Add(int64(n))
		return n, err
	}
	before := t.Received()
	err = t.Fill()
	return int(t.Received() - before), err
}
