// What the service manager is told (sd_notify(3)). This file owns that nobody
// else tells it anything, and that the loop does not wait for it for long; without
// a service manager it does nothing.

package parent

import (
	"errors"
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

type notifier struct {
	alive   time.Duration // how often a sign of life is due, 0: never
	telling sync.Mutex    // held while something is on its way
}

func newNotifier() (*notifier, error) {
	limit, err := daemon.SdWatchdogEnabled(true)
	return &notifier{alive: limit / 2}, err
}

// scriptEnvironment is the daemon's without the service manager's socket, so that
// no script speaks in our name. SdNotify looks it up each time.
func scriptEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
}

// tell is bounded here, for SdNotify waits until there is room in the service
// manager's queue. What comes while something waits there is lost.
func (n *notifier) tell(state string) error {
	if !n.telling.TryLock() {
		return errors.New("it does not read")
	}
	told := make(chan error, 1)
	go func() {
		defer n.telling.Unlock()
		_, err := daemon.SdNotify(false, state)
		told <- err
	}()
	select {
	case err := <-told:
		return err
	case <-time.After(notifyWait):
		return errors.New("it does not read")
	}
}

// ready is also said after a reload. It alone tells whether somebody hears us.
func (n *notifier) ready(status string) error {
	return n.tell(daemon.SdNotifyReady + "\nMAINPID=" + strconv.Itoa(os.Getpid()) + "\nSTATUS=" + status)
}

// maxStatus is what of an error is told: more does not help at a glance.
const maxStatus = 1000

// failed tells why there will be no family. It is the last word, and stays.
func (n *notifier) failed(err error) { n.tell("STATUS=" + oneLine(err)) }

// oneLine words an error for a place that has one line.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}

func (n *notifier) reloading() {
	n.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (n *notifier) stopping() {
	n.tell(daemon.SdNotifyStopping + "\nSTATUS=waiting for the last session to end")
}

func (n *notifier) sayAlive() { n.tell(daemon.SdNotifyWatchdog) }
