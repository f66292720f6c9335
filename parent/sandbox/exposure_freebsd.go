package sandbox

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// endProtection does nothing: protect(1) of our starter is not inherited.
func endProtection() error { return nil }

// Of sys/wait.h and sys/procctl.h.
const (
	pPID                = 0
	procTraceCtl        = 7
	procTraceCtlDisable = 2
)

// setDumpable says whether this process may leave a core dump and be looked into by
// others of its user (procctl(2), PROC_TRACE_CTL). An exec sets it anew.
func setDumpable(yes bool) error {
	if yes || unsafe.Sizeof(uintptr(0)) < 8 { // there an id takes two registers
		return nil
	}
	how := int32(procTraceCtlDisable)
	_, _, errno := unix.Syscall6(unix.SYS_PROCCTL, pPID, uintptr(os.Getpid()), procTraceCtl, uintptr(unsafe.Pointer(&how)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("core dumps: %w", errno)
	}
	return nil
}
