package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// This file owns the scanners of stories that scan, in clamd's and spamd's ways, and that
// misbehave when they are told to.

// engines are what each says of a text.
var engines = map[string]func(s *story, c net.Conn){
	"clamd": func(s *story, c net.Conn) {
		in := bufio.NewReader(c)
		if hello, err := in.ReadString(0); err != nil || hello != "zIDSESSION\x00" {
			return
		}
		for number := 1; ; number++ {
			if command, err := in.ReadString(0); err != nil || command != "zINSTREAM\x00" {
				return
			}
			var text bytes.Buffer
			for size := make([]byte, 4); ; {
				if _, err := io.ReadFull(in, size); err != nil {
					return
				}
				n := binary.BigEndian.Uint32(size)
				if n == 0 {
					break
				}
				if how, over := s.manners.meet("clamd-text"); how != "" {
					misanswer(c, how, over, "")
					return
				}
				if _, err := io.CopyN(&text, in, int64(n)); err != nil {
					return
				}
			}
			answer := fmt.Sprintf("%d: stream: OK\x00", number)
			if bytes.Contains(text.Bytes(), []byte("ANTIVIRUS-TEST")) {
				answer = fmt.Sprintf("%d: stream: Eicar FOUND\x00", number)
			}
			how, over := s.manners.meet("clamd")
			misanswer(c, how, over, answer)
			if how != "" {
				return
			}
		}
	},
	"spamd": func(s *story, c net.Conn) {
		text, err := io.ReadAll(c)
		if err != nil {
			return
		}
		score := "False ; 0.0 / 5.0"
		if bytes.Contains(text, []byte("GTUBE")) {
			score = "True ; 1000.0 / 5.0"
		}
		how, over := s.manners.meet("spamd")
		misanswer(c, how, over, "SPAMD/1.1 0 EX_OK\r\nSpam: "+score+"\r\n\r\n")
	},
}

// misanswer answers as a scanner in such a manner does.
func misanswer(c net.Conn, how string, over <-chan struct{}, answer string) {
	switch how {
	case "hangs":
		<-over
	case "is-slow":
		time.Sleep(2 * time.Second)
	case "closes":
		return
	case "resets":
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		return
	case "breaks-off":
		answer = answer[:len(answer)/2]
	case "babbles":
		answer = "\xff\x00 babble\r\n"
	case "goes-on":
		answer = strings.Repeat("it goes on and on ", 1<<16)
	}
	io.WriteString(c, answer)
}

// engine has a scanner listen at a port of its own, whose address is then CLAMD or SPAMD.
func (s *story) engine(ts *testscript.TestScript, _ bool, args []string) error {
	ask, known := engines[args[0]]
	if !known {
		return fmt.Errorf("no scanner is called %s", args[0])
	}
	address := "127.0.0.1:0"
	var l net.Listener
	var mu sync.Mutex
	var inside map[net.Conn]bool // nil: nobody may be
	open := func() (err error) {
		if l, err = net.Listen("tcp", address); err != nil {
			return err
		}
		address = l.Addr().String()
		conns := map[net.Conn]bool{}
		mu.Lock()
		inside = conns
		mu.Unlock()
		go serveEach(l, func(c net.Conn) {
			mu.Lock()
			in := inside != nil
			conns[c] = true
			mu.Unlock()
			if in {
				ask(s, c)
			}
			mu.Lock()
			delete(conns, c)
			mu.Unlock()
		})
		return nil
	}
	shut := func() error {
		err := l.Close()
		mu.Lock()
		defer mu.Unlock()
		for c := range inside {
			c.Close()
		}
		inside = nil
		return err
	}
	if err := open(); err != nil {
		return err
	}
	ts.Setenv(strings.ToUpper(args[0]), address)
	s.doors[args[0]] = door{open, shut}
	return nil
}

// door is where others come in to a server, which may close it and open it again.
type door struct{ open, close func() error }

// serveEach serves each connection by itself, until the listener is closed.
func serveEach(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			serve(c)
		}()
	}
}
