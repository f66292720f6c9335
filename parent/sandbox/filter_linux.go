//go:build amd64 || arm64

// The filter of system calls (seccomp(2)): a program for the kernel's classic BPF,
// made of rules. This file owns how it is made and loaded; what the rules are it
// does not know.

package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rule gives a system call its answer, if all checks hold. Of the rules of a call
// the first one counts.
type rule struct {
	call   uint32
	checks []check
	answer uint32 // SECCOMP_RET_*
}

// check is about an argument: its low 32 bits, masked, are one of some values. All
// arguments we look at are int, or have no meaning above.
type check struct {
	argument int
	mask     uint32
	values   []uint32
}

func is(argument int, values ...uint32) check { return check{argument, ^uint32(0), values} }

// none: no bit of these is set.
func none(argument int, bits uint32) check { return check{argument, bits, []uint32{0}} }

// kind is about the second argument of socket(2), which holds flags, too.
func kind(values ...uint32) check { return check{1, 0xf, values} }

func allow(calls ...uint32) (all []rule) {
	for _, c := range calls {
		all = append(all, rule{call: c, answer: unix.SECCOMP_RET_ALLOW})
	}
	return all
}

func allowIf(call uint32, checks ...check) rule {
	return answerIf(unix.SECCOMP_RET_ALLOW, call, checks...)
}

func answerIf(answer, call uint32, checks ...check) rule { return rule{call, checks, answer} }

func refuse(err unix.Errno, call uint32) rule { return refuseIf(err, call) }

func refuseIf(err unix.Errno, call uint32, checks ...check) rule {
	return answerIf(unix.SECCOMP_RET_ERRNO|uint32(err), call, checks...)
}

// trap ends the process, and has Go say which call it was.
const trap = unix.SECCOMP_RET_TRAP

// rules are all of r, in order.
func (r *Rights) rules() []rule {
	all := r.allowed()
	if !r.opens() {
		all = append(all, noFiles)
	}
	all = append(all, probes...)
	for _, calls := range []map[string]uint32{hostile, hostileHere} {
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			all = append(all, rule{call: calls[name], answer: trap})
		}
	}
	return all
}

// Offsets in struct seccomp_data.
const (
	atCall      = 0
	atMachine   = 4
	atArguments = 16
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(answer uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: answer}
}

// jump goes on after so many instructions if the comparison holds, and after others
// if not.
func jump(comparison uint16, k uint32, yes, no int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | comparison, K: k, Jt: uint8(yes), Jf: uint8(no)}
}

// assemble makes the program of rules; otherwise is the answer to what they do
// not name. It returns nil if that cannot be said.
func assemble(rules []rule, otherwise uint32) []unix.SockFilter {
	p := []unix.SockFilter{
		load(atMachine), jump(unix.BPF_JEQ, machine, 1, 0), ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(atCall), jump(unix.BPF_JGE, otherNumbers, 0, 1), ret(unix.SECCOMP_RET_KILL_PROCESS),
	}
	done := map[uint32]bool{}
	for i, r := range rules {
		if done[r.call] {
			continue
		}
		done[r.call] = true
		body := answers(rules[i:], r.call, otherwise)
		if len(body) > 255 { // no jump is longer
			return nil
		}
		p = append(p, jump(unix.BPF_JEQ, r.call, 0, len(body)))
		p = append(p, body...)
	}
	return append(p, ret(otherwise))
}

// answers is what is done about one call.
func answers(rules []rule, call, otherwise uint32) (body []unix.SockFilter) {
	for i, r := range rules {
		same := func(o rule) bool { return reflect.DeepEqual(o, r) }
		if r.call != call || slices.ContainsFunc(rules[:i], same) {
			continue
		}
		body = append(body, r.assemble()...)
		if len(r.checks) == 0 {
			return body
		}
	}
	return append(body, ret(otherwise))
}

// assemble makes what answers if all checks hold, and goes on behind it if not.
func (r *rule) assemble() (body []unix.SockFilter) {
	body = []unix.SockFilter{ret(r.answer)}
	for _, c := range slices.Backward(r.checks) {
		part := []unix.SockFilter{load(atArguments + 8*uint32(c.argument))}
		if c.mask != ^uint32(0) {
			part = append(part, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask})
		}
		for i, v := range c.values {
			others := len(c.values) - 1 - i
			no := 0
			if others == 0 {
				no = len(body)
			}
			part = append(part, jump(unix.BPF_JEQ, v, others, no))
		}
		body = append(part, body...)
	}
	return body
}

// programs are the two filters of r; the stricter of two answers counts. The first
// says no to what it does not know, with a line in the kernel's log for each no; the
// second refuses what programs try, of which there is nothing to tell.
func (r *Rights) programs() (strict, soft []unix.SockFilter) {
	var knows, tries []rule
	for _, rule := range r.rules() {
		if rule.answer&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
			tries = append(tries, rule)
			rule.answer = unix.SECCOMP_RET_ALLOW
		} else if rule.answer == unix.SECCOMP_RET_ALLOW {
			tries = append(tries, rule)
		}
		knows = append(knows, rule)
	}
	refuses := map[uint32]bool{}
	for _, rule := range tries {
		refuses[rule.call] = refuses[rule.call] || rule.answer != unix.SECCOMP_RET_ALLOW
	}
	tries = slices.DeleteFunc(tries, func(t rule) bool { return !refuses[t.call] })
	return assemble(knows, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), assemble(tries, unix.SECCOMP_RET_ALLOW)
}

// filterCalls closes every call but those of r's words, in all threads, for good. It
// needs no_new_privs, and gives that to the threads that lack it.
func (r *Rights) filterCalls() error {
	strict, soft := r.programs()
	// The second can no longer be loaded behind the first.
	if err := loadFilter(soft, 0); err != nil {
		return err
	}
	return loadFilter(strict, unix.SECCOMP_FILTER_FLAG_LOG)
}

func loadFilter(program []unix.SockFilter, flags uintptr) error {
	if program == nil {
		return errors.New("filter system calls: a rule is too long")
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if errno == 0 && thread != 0 {
		return fmt.Errorf("filter system calls: thread %d cannot be bound", thread)
	}
	if errno != 0 {
		return fmt.Errorf("filter system calls: %w", errno)
	}
	return nil
}
