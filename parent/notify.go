// What the service manager is told (sd_notify(3)). This file owns the one
// connected socket it takes; without a service manager it does nothing.

package parent

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type notifier struct {
	conn  *net.UnixConn
	alive time.Duration // how often a sign of life is due, 0: never
}

// newNotifier takes the service manager's variables out of the environment, so
// that no script speaks in our name.
func newNotifier() (*notifier, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	usec, _ := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	for _, v := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(v)
	}
	n := new(notifier)
	if path == "" {
		return n, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return n, fmt.Errorf("connect to the service manager: %w", err)
	}
	n.conn = conn
	if pid == "" || pid == strconv.Itoa(os.Getpid()) {
		n.alive = time.Duration(usec) * time.Microsecond / 2
	}
	return n, nil
}

func (n *notifier) tell(state string) {
	if n.conn == nil {
		return
	}
	n.conn.SetWriteDeadline(time.Now().Add(time.Second))
	n.conn.Write([]byte(state))
}

func (n *notifier) ready(status string) {
	n.tell("READY=1\nMAINPID=" + strconv.Itoa(os.Getpid()) + "\nSTATUS=" + status)
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
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	n.tell("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10))
}

func (n *notifier) stopping() { n.tell("STOPPING=1\nSTATUS=waiting for the last session to end") }
func (n *notifier) sayAlive() { n.tell("WATCHDOG=1") }
