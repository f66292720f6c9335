package control

import "os"

// Who is at the other end of a UNIX socket; how that is asked differs by system.

// askSocket runs ask on f's descriptor, and leaves it in the mode it is in.
func askSocket(f *os.File, ask func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = ask(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
