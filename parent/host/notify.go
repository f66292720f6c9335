// What the service manager is told (sd_notify(3)). This file owns that nobody
// else tells it anything, and that the loop does not wait for it for long; without
// a service manager it does nothing.

package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifyWait is how long the loop stands still for a service manager that does
// not read.
const notifyWait = time.Second

// Notifier tells the service manager how we are. Its zero value does, too, and gives
// no signs of life.
type Notifier struct {
	Watchdog time.Duration // how often KeepAlive is due, 0: never

	telling sync.Mutex // held while something is on its way
	usec    string     // WATCHDOG_USEC
	silent  bool       // another process speaks for the service
}

// Environment is what a program that takes over from us must be started with: the service
// manager's words for us hold for it.
func (n *Notifier) Environment() []string {
	env := os.Environ()
	if n.usec != "" {
		env = append(env, "WATCHDOG_USEC="+n.usec)
	}
	return env
}

// Managed tells whether there is a service manager.
func (n *Notifier) Managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// alive has what is told be a sign of life, too: from one main process to the next the
// manager's clock runs on, and each gives its first after half of the limit.
const alive = "\n" + daemon.SdNotifyWatchdog

// MainProcess says that another process is the service's, whose word counts from now on;
// ours is not heard any more.
func (n *Notifier) MainProcess(pid int) {
	n.tell("MAINPID=" + strconv.Itoa(pid) + alive)
	n.Silence()
}

// Silence has nothing be told any more, until Speak.
func (n *Notifier) Silence() { n.silent = true }

// Speak ends Silence.
func (n *Notifier) Speak() { n.silent = false }

// minWatchdog is the shortest time after which a sign of life may be missed.
const minWatchdog = time.Millisecond

// NewNotifier reads what the service manager expects (sd_watchdog_enabled(3)). After
// an error the notifier gives no signs of life, but works.
func NewNotifier() (*Notifier, error) {
	text := os.Getenv("WATCHDOG_USEC")
	limit, err := daemon.SdWatchdogEnabled(true)
	// Where there are too many microseconds for a Duration, that is another number of them.
	if limit != 0 && (limit < minWatchdog || strconv.FormatInt(limit.Microseconds(), 10) != text) {
		limit, err = 0, fmt.Errorf("signs of life each %q microseconds cannot be given", text)
	}
	if limit == 0 {
		text = ""
	}
	return &Notifier{Watchdog: limit / 2, usec: text}, err
}

// ScriptEnvironment is the daemon's without the service manager's socket, so that
// no script speaks in our name. SdNotify looks it up each time.
func ScriptEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
}

// tell is bounded here, for SdNotify waits until there is room in the service
// manager's queue. What comes while something waits there is lost.
func (n *Notifier) tell(state string) error {
	if n.silent {
		return nil
	}
	if !n.telling.TryLock() {
		return errors.New("it does not read")
	}
	told := make(chan error, 1)
	go func() {
		_, err := daemon.SdNotify(false, state)
		n.telling.Unlock() // first: who is told may tell the next at once
		told <- err
	}()
	select {
	case err := <-told:
		return err
	case <-time.After(notifyWait):
		return errors.New("it does not read")
	}
}

// Ready is also said after a reload. It alone tells whether somebody hears us; without
// a service manager there is no error.
func (n *Notifier) Ready(status string) error {
	return n.tell(daemon.SdNotifyReady + "\nMAINPID=" + strconv.Itoa(os.Getpid()) + "\nSTATUS=" + status + alive)
}

// maxStatus is what of an error is told: more does not help at a glance.
const maxStatus = 1000

// Status says how we are, at a glance.
func (n *Notifier) Status(status string) { n.tell("STATUS=" + status) }

// Failed tells why we do not start. It is the last word, and stays.
func (n *Notifier) Failed(err error) { n.tell("STATUS=" + OneLine(err)) }

// OneLine words an error for a place that has one line.
func OneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}

// Reloading is followed by Ready, however the reload goes.
func (n *Notifier) Reloading() {
	n.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Stopping is said when we take nobody new.
func (n *Notifier) Stopping() {
	n.tell(daemon.SdNotifyStopping + "\nSTATUS=waiting for the last session to end")
}

// KeepAlive is the sign of life.
func (n *Notifier) KeepAlive() { n.tell(daemon.SdNotifyWatchdog) }
