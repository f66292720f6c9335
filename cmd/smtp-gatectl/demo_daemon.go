// The daemon of the demonstration: its temporary folder, its configuration and
// its process. This file owns all three and their end.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// startTime is how long the family may take to get ready, endTime to end.
const (
	startTime = 30 * time.Second
	endTime   = 5 * time.Second
)

type daemon struct {
	dir     string
	socket  string // control socket
	port    int
	shown   tls.Certificate // to clients
	held    *os.File        // the folder, locked
	process *exec.Cmd       // the keeper
	line    io.Closer       // its lifeline
	ended   chan struct{}   // closed when the process has ended
	err     error           // how, once ended is closed
}

func startDaemon(ctx context.Context, program string, server *mailServer) (*daemon, error) {
	program, err := daemonPath(program)
	if err != nil {
		return nil, err
	}
	d, err := makeDaemon("", "smtp-gated-demo-")
	if err != nil {
		return nil, err
	}
	if err := d.start(ctx, program, server); err != nil {
		return nil, errors.Join(err, d.lastWords(), d.stop())
	}
	return d, nil
}

// makeDaemon makes the temporary folder of one, in another or where such ones lie.
func makeDaemon(in, name string) (*daemon, error) {
	dir, err := os.MkdirTemp(in, name)
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	d := &daemon{dir: dir, socket: filepath.Join(dir, "run", "control"), ended: make(chan struct{})}
	d.held, err = holdFolder(dir)
	if err == nil {
		// The rooms run under other users than ours; they must get through.
		err = os.Chmod(dir, 0o711)
	}
	if err == nil {
		err = os.Mkdir(d.file("run"), 0o755)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", dir, err), d.stop())
	}
	return d, nil
}

// daemonPath finds the program to run.
func daemonPath(program string) (string, error) {
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find smtp-gated: %w", err)
		}
		program = filepath.Join(filepath.Dir(self), "smtp-gated")
		if _, err := os.Stat(program); err != nil {
			if found, err := exec.LookPath("smtp-gated"); err == nil {
				program = found
			}
		}
	}
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("find smtp-gated: %w (say where it is with --daemon)", err)
	}
	return filepath.Abs(program)
}

func (d *daemon) start(ctx context.Context, program string, server *mailServer) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	d.port = port
	key, err := d.certify()
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	files := map[string]string{
		keptConfig:    d.configuration(server.port),
		"clean.eml":   cleanMail(),
		"virus.eml":   eicarMail(),
		"spam.eml":    gtubeMail(),
		"gateway.key": string(key),
		"gateway.pem": string(pem.EncodeToMemory(certificateBlock(d.shown))),
		"mail.pem":    string(pem.EncodeToMemory(certificateBlock(server.certificate))),
	}
	for name, text := range files {
		f, err := d.create(name)
		if err == nil {
			_, err = f.WriteString(text)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return d.launch(ctx, program)
}

// create makes a file in the folder that nobody else reads.
func (d *daemon) create(name string) (*os.File, error) {
	return os.OpenFile(d.file(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// launch runs the program by the configuration in the folder, until it is ready.
func (d *daemon) launch(ctx context.Context, program string) error {
	notify := d.file("ready")
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("wait for smtp-gated: %w", err)
	}
	defer ready.Close()
	log, err := d.create(keptLog)
	if err == nil {
		err = log.Close()
	}
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}

	var errs bytes.Buffer
	keeper := exec.Command(self, asKeeper, d.dir, program)
	keeper.Stderr = &errs
	keeper.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify)
	keeper.ExtraFiles = []*os.File{d.held}
	// Ctrl-C is for us: we end the daemon in our own time.
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	line, err := keeper.StdinPipe()
	if err == nil {
		err = keeper.Start()
	}
	if err != nil {
		return fmt.Errorf("start smtp-gated: %w", err)
	}
	d.process, d.line = keeper, line
	go func() {
		d.err = keeper.Wait()
		if words := bytes.TrimSpace(errs.Bytes()); len(words) > 0 {
			d.err = errors.New(string(words))
		}
		close(d.ended)
		ready.Close()
	}()
	defer context.AfterFunc(ctx, func() { ready.Close() })()
	return d.await(ctx, ready)
}

// await waits for what sd_notify(3) calls READY=1.
func (d *daemon) await(ctx context.Context, ready *net.UnixConn) error {
	ready.SetReadDeadline(time.Now().Add(startTime))
	state := make([]byte, 4096)
	for {
		n, err := ready.Read(state)
		switch {
		case err == nil && bytes.Contains(state[:n], []byte("READY=1")):
			return nil
		case err == nil:
			continue
		case ctx.Err() != nil:
			return errInterrupted
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("smtp-gated was not ready after %v", startTime)
		}
		<-d.ended
		if d.err == nil {
			return errors.New("smtp-gated ended at its start, as if all were well")
		}
		return fmt.Errorf("smtp-gated ended at its start: %w", d.err)
	}
}

// certify makes the certificate that clients are shown, and returns its key.
func (d *daemon) certify() (key []byte, err error) {
	if d.shown, err = selfSigned("gateway.demo"); err != nil {
		return nil, err
	}
	text, err := x509.MarshalPKCS8PrivateKey(d.shown.PrivateKey)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), err
}

// trusting is how a client begins TLS that knows the gateway's certificate.
func (d *daemon) trusting() *tls.Config {
	config := &tls.Config{ServerName: "gateway.demo", RootCAs: x509.NewCertPool()}
	for _, c := range d.shown.Certificate {
		if known, err := x509.ParseCertificate(c); err == nil {
			config.RootCAs.AddCert(known)
		}
	}
	return config
}

// configuration is the file of the demonstration: short enough to be shown.
func (d *daemon) configuration(server int) string {
	users := ""
	if os.Geteuid() == 0 && !ownUsers() {
		users = "\n[users] # those of the package do not exist here\nuser = \"nobody\"\n"
	}
	return fmt.Sprintf(`# Made by smtp-gatectl demo.
[target]
mode = "fixed"
server = "127.0.0.1"
port = %d

[listen]
address = "127.0.0.1"
port = %d

[server]
name = "gateway.demo"
pid_file = %q

[control]
socket = %q

[status]
file = %q

[log]
target = "stderr"

[scan.antivirus]
engine = "builtin"

[scan.antispam]
engine = "builtin"

[tls]
verify = "name"
ca_file = %q
server_name = %q

[[tls.certificate]]
chain = %q
key = %q

[spool]
path = %q

[lock]
on = ["virus", "spam"]
path = %q

[history]
path = %q
%s`, server, d.port, d.file(keptPid), d.socket, d.file("run/state"),
		d.file("mail.pem"), serverName, d.file("gateway.pem"), d.file("gateway.key"), d.file("spool"), d.file("lock"), d.file("history"), users)
}

func (d *daemon) file(name string) string { return filepath.Join(d.dir, name) }

func (d *daemon) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

// ownUsers tells whether every room finds the user made for it.
func ownUsers() bool {
	c := config.Default()
	for _, r := range imsg.Children() {
		if _, err := user.Lookup(c.User(r)); err != nil {
			return false
		}
	}
	return true
}

// freePort finds a port nobody uses.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// manyLoopbacks tells whether all of 127/8 is this machine, as on Linux.
func manyLoopbacks() bool {
	l, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// lastWords is the end of the daemon's log, as an error to be shown.
func (d *daemon) lastWords() error {
	text, err := os.ReadFile(d.file(keptLog))
	if err != nil || len(text) == 0 {
		return nil
	}
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	lines = lines[max(0, len(lines)-30):]
	return fmt.Errorf("the end of its log:\n%s", cleanLines(lines))
}

// stop ends the daemon, gently first, and removes the folder.
func (d *daemon) stop() error {
	var err error
	if d.process != nil {
		err = d.end()
	}
	if d.held != nil {
		d.held.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// end has the keeper end it.
func (d *daemon) end() error {
	select {
	case <-d.ended: // it has, by itself
		return nil
	default:
	}
	d.line.Close()
	select {
	case <-d.ended:
		return d.err
	case <-time.After(3 * endTime):
	}
	d.process.Process.Kill()
	<-d.ended
	return errors.New("smtp-gated did not end")
}

// explain says what can be tried by hand.
func (d *daemon) explain(w io.Writer, ink ink) {
	self, err := os.Executable()
	if err != nil {
		self = "smtp-gatectl"
	}
	fmt.Fprintln(w, ink.title("\nNow try it yourself, in another terminal"))
	tw := columns(w)
	for _, line := range [][2]string{
		{"talk to it", fmt.Sprintf("telnet 127.0.0.1 %d", d.port)},
		{"send a clean mail", fmt.Sprintf("swaks -s 127.0.0.1 -p %d -f me@client.demo -t you@mail.demo -d @%s", d.port, d.file("clean.eml"))},
		{"send the virus", fmt.Sprintf("swaks -s 127.0.0.1 -p %d -f me@client.demo -t you@mail.demo -d @%s", d.port, d.file("virus.eml"))},
		{"send it in TLS", fmt.Sprintf("swaks -s 127.0.0.1 -p %d -f me@client.demo -t you@mail.demo -d @%s -tls", d.port, d.file("virus.eml"))},
		{"see the rooms", fmt.Sprintf("%s --socket %s status", self, d.socket)},
		{"see who is locked", fmt.Sprintf("%s --socket %s lock list", self, d.socket)},
		{"let yourself in again", fmt.Sprintf("%s --socket %s lock remove 127.0.0.1", self, d.socket)},
		{"read the log", "tail -f " + d.file(keptLog)},
		{"read the configuration", "cat " + d.file(keptConfig)},
	} {
		fmt.Fprintf(tw, "   %s\t%s\n", line[0], line[1])
	}
	tw.Flush()
	fmt.Fprintln(w, "\nCtrl-C ends it and removes everything.")
}
