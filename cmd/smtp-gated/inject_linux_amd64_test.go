package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// injector makes system calls in a running process, from one of its threads that
// waits in the kernel, as an intruder's code would. To the filters they are the
// process's own (ptrace(2)).
type injector struct {
	tid   int
	saved unix.PtraceRegs
}

// answer is what a call met.
type answer struct {
	trapped bool // the kernel would have ended the process with SIGSYS; it was held back
	ended   bool // the process has been ended, nothing could hold that back
	result  int64
}

func (a answer) String() string {
	switch {
	case a.ended:
		return "killed"
	case a.trapped:
		return "trap"
	case a.result < 0 && a.result > -4096:
		return unix.ErrnoName(unix.Errno(-a.result))
	}
	return fmt.Sprint(a.result)
}

// failed tells whether the call did not happen.
func (a answer) failed() bool { return a.trapped || a.ended || a.result < 0 && a.result > -4096 }

// intrude has do make calls in a process. It must not be ended by them, unless do
// wants that.
func intrude(pid int, do func(*injector) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var err error
	for range 100 {
		var i *injector
		if i, err = newInjector(pid); err != nil {
			continue
		}
		defer i.leave()
		return do(i)
	}
	return fmt.Errorf("no thread of %d lets us in: %w", pid, err)
}

// newInjector stops a thread that waits in futex(2): nobody misses it for long.
func newInjector(pid int) (*injector, error) {
	waits, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return nil, err
	}
	for _, path := range waits {
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), fmt.Sprint(unix.SYS_FUTEX, " ")) {
			continue
		}
		i := new(injector)
		if _, err := fmt.Sscanf(path, fmt.Sprintf("/proc/%d/task/%%d/syscall", pid), &i.tid); err != nil {
			return nil, err
		}
		if err := unix.PtraceSeize(i.tid); err != nil {
			return nil, err
		}
		if err = i.stop(); err == nil {
			return i, nil
		}
		unix.PtraceDetach(i.tid)
		return nil, err
	}
	return nil, errors.New("no thread waits")
}

func (i *injector) stop() error {
	if err := unix.PtraceInterrupt(i.tid); err != nil {
		return err
	}
	if status, err := i.wait(); err != nil || !status.Stopped() {
		return fmt.Errorf("it does not stop: %v, %w", status, err)
	}
	if err := unix.PtraceGetRegs(i.tid, &i.saved); err != nil {
		return err
	}
	var code [2]byte
	if _, err := unix.PtracePeekText(i.tid, uintptr(i.saved.Rip-2), code[:]); err != nil || code != [2]byte{0x0f, 0x05} {
		return fmt.Errorf("it is not in a system call: % x, %w", code, err)
	}
	return nil
}

func (i *injector) wait() (status unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(i.tid, &status, unix.WALL, nil); err != unix.EINTR {
			return status, err
		}
	}
}

// leave has the thread go on as if nothing had been.
func (i *injector) leave() {
	unix.PtraceSetRegs(i.tid, &i.saved)
	unix.PtraceDetach(i.tid)
}

// call makes a call. Strings and octets are put where the process can read them.
func (i *injector) call(number uint64, args ...any) (answer, error) {
	regs := i.saved
	regs.Rax, regs.Orig_rax, regs.Rip = number, ^uint64(0), i.saved.Rip-2
	room := uintptr(regs.Rsp) - 4<<10 // a thread has 16 KiB
	into := []*uint64{&regs.Rdi, &regs.Rsi, &regs.Rdx, &regs.R10, &regs.R8, &regs.R9}
	for n, a := range args {
		var octets []byte
		switch a := a.(type) {
		case int:
			*into[n] = uint64(a)
			continue
		case uint64:
			*into[n] = a
			continue
		case string:
			octets = append([]byte(a), 0)
		case []byte:
			octets = a
		}
		// It may be a small stack, with another below it.
		before := make([]byte, len(octets))
		if _, err := unix.PtracePeekData(i.tid, room, before); err != nil {
			return answer{}, fmt.Errorf("peek: %w", err)
		}
		defer unix.PtracePokeData(i.tid, room, before)
		if _, err := unix.PtracePokeData(i.tid, room, octets); err != nil {
			return answer{}, fmt.Errorf("poke: %w", err)
		}
		*into[n] = uint64(room)
		room += uintptr(len(octets)+15) &^ 15
	}
	if err := unix.PtraceSetRegs(i.tid, &regs); err != nil {
		return answer{}, err
	}
	for trapped := false; ; {
		if err := unix.PtraceSingleStep(i.tid); err != nil {
			return answer{}, err
		}
		status, err := i.wait()
		switch {
		case err != nil:
			return answer{}, err
		case status.Signaled() || status.Exited():
			return answer{ended: true}, nil
		case status.StopSignal() == unix.SIGSYS:
			trapped = true
			continue
		case status.StopSignal() != unix.SIGTRAP || status>>16 != 0:
			continue // something else has come in between
		}
		if trapped { // the step is done now
			return answer{trapped: true}, nil
		}
		if err := unix.PtraceGetRegs(i.tid, &regs); err != nil {
			return answer{}, err
		}
		return answer{result: int64(regs.Rax)}, nil
	}
}

// inet is a struct sockaddr_in.
func inet(port int, a, b, c, d byte) []byte {
	s := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	s = binary.BigEndian.AppendUint16(s, uint16(port))
	return append(s, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0)
}

// commit makes a call and has the process get what follows. After one that ends it
// there is nobody to leave.
func (i *injector) commit(number uint64, args ...any) error {
	regs := i.saved
	regs.Rax, regs.Orig_rax, regs.Rip = number, ^uint64(0), i.saved.Rip-2
	for n, into := range []*uint64{&regs.Rdi, &regs.Rsi, &regs.Rdx, &regs.R10}[:len(args)] {
		*into = uint64(args[n].(int))
	}
	if err := unix.PtraceSetRegs(i.tid, &regs); err != nil {
		return err
	}
	for signal := 0; ; {
		if err := unix.PtraceCont(i.tid, signal); err != nil {
			return nil
		}
		status, err := i.wait()
		if err != nil || status.Signaled() || status.Exited() {
			return nil
		}
		signal = int(status.StopSignal())
	}
}
