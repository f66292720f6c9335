package link

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzRights: no control data, of whatever number and kind of messages, makes the reader
// panic, or take more descriptors than it has octets for.
func FuzzRights(f *testing.F) {
	// Descriptors that are not open: closing them harms nobody.
	f.Add(unix.UnixRights(1<<30, 1<<30+1))
	f.Add(append(unix.UnixRights(1<<30), unix.UnixRights(1<<30)...))
	f.Add(unix.UnixRights())
	f.Add(make([]byte, unix.CmsgSpace(0)))
	f.Add([]byte{1})
	f.Add([]byte("1\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x0000000000000000000000000000000000000000")) // half a descriptor
	f.Fuzz(func(t *testing.T, oob []byte) {
		messages, err := unix.ParseSocketControlMessage(oob)
		n := 0
		for i := range messages {
			n += len(messages[i].Data) / 4
		}
		if err == nil && n*4 > len(oob) {
			t.Errorf("%d descriptors in %d octets", n, len(oob))
		}
		fds, _ := receivedFrom(oob)
		if len(fds)*4 > len(oob) {
			t.Errorf("%d descriptors in %d octets", len(fds), len(oob))
		}
	})
}
