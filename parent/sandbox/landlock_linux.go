// Which files and ports are left: Landlock, of which every kernel knows another
// part. It does not know sockets of UNIX, UDP and MPTCP: those are the business
// of the filter of system calls.

package sandbox

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// What a kernel's Landlock knows, by the version of its interface (landlock(7)).
const (
	knowsFiles     = 1
	knowsTruncate  = 3
	knowsPorts     = 4
	knowsDevices   = 5
	knowsScopes    = 6
	scopedInThread = 1 << (2 - 1) // erratum 2 is mended: signals between a process's own threads pass
)

// landlockVersion returns the version of the kernel, 0: none.
func (k kernel) landlockVersion() int {
	v, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return min(v, k.landlock)
}

// signalsScoped tells whether signals can be kept within the process. Before its
// second erratum was mended Landlock would have kept the threads of a process from
// each other, which bound themselves one by one.
func (k kernel) signalsScoped() bool {
	mended, err := ll.LandlockGetErrata()
	return k.landlockVersion() >= knowsScopes && err == nil && mended&k.errata&scopedInThread != 0
}

// fence closes set-uid programs, and leaves the files below the working directory
// that the words allow, and the ports.
func (r *Rights) fence() error {
	if err := setNoNewPrivs(); err != nil {
		return err
	}
	k := playedKernel(r.Kernel)
	v := k.landlockVersion()
	if v < knowsFiles {
		return nil
	}
	c, rules := r.ruleset(v, k.signalsScoped())
	if err := c.Restrict(rules...); err != nil {
		return fmt.Errorf("files and ports: %w", err)
	}
	return nil
}

// ruleset is what a kernel with a version can hold us to.
func (r *Rights) ruleset(version int, signals bool) (landlock.Config, []landlock.Rule) {
	var c landlock.Config
	var rules []landlock.Rule
	c.HandledAccessFS = ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSReadFile | ll.AccessFSReadDir |
		ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeChar | ll.AccessFSMakeDir | ll.AccessFSMakeReg |
		ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeBlock | ll.AccessFSMakeSym
	if version > knowsFiles {
		c.HandledAccessFS |= ll.AccessFSRefer
	}
	if version >= knowsTruncate {
		c.HandledAccessFS |= ll.AccessFSTruncate
	}
	if version >= knowsDevices {
		c.HandledAccessFS |= ll.AccessFSIoctlDev
	}
	var files landlock.AccessFSSet
	if r.has("rpath") {
		files |= ll.AccessFSReadFile | ll.AccessFSReadDir
	}
	if r.has("wpath") {
		files |= ll.AccessFSWriteFile | ll.AccessFSTruncate
	}
	if r.has("cpath") {
		files |= ll.AccessFSMakeReg | ll.AccessFSRemoveFile
	}
	if files &= c.HandledAccessFS; files != 0 {
		rules = append(rules, landlock.PathAccess(files, "."))
	}
	if version >= knowsPorts {
		rules = append(rules, r.ports(&c)...)
	}
	if version >= knowsScopes {
		c.Scoped |= ll.ScopeAbstractUnixSocket
	}
	if signals {
		c.Scoped |= ll.ScopeSignal
	}
	return c, rules
}

// ports bounds those of TCP. What may be any port is not handled at all.
func (r *Rights) ports(c *landlock.Config) (rules []landlock.Rule) {
	connect, bind := r.Connect, r.Bind
	if !r.has("inet-tcp") {
		connect, bind = []uint16{}, []uint16{}
	}
	if connect != nil {
		c.HandledAccessNet |= ll.AccessNetConnectTCP
		for _, port := range connect {
			rules = append(rules, landlock.ConnectTCP(port))
		}
	}
	if bind != nil {
		c.HandledAccessNet |= ll.AccessNetBindTCP
		for _, port := range bind {
			rules = append(rules, landlock.BindTCP(port))
		}
	}
	return rules
}
