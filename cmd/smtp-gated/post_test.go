package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// post is what became of the mails of crowds. Each of them is sent once, under a number
// of its own, and whatever happens meanwhile some things must never be true of it.
type post struct {
	mu     sync.Mutex
	marks  []mark // by number
	faults []error
}

// mark is what is known of a mail.
type mark uint8

const (
	isBad      mark = 1 << iota // it must not get through
	isTaken                     // the server has it, whole
	isDoubled                   // twice
	isAccepted                  // its client heard 250 at its end
	isDenied                    // its client heard a refusal of ours at its end
	isClosed                    // and that was a 421: nobody knows
	isCut                       // its client heard nothing at its end, or did not wait for it
)

const numberField = "X-Number: "

// stamp gives a mail a number, and returns the text to send.
func (p *post) stamp(message string, kind mark) (number int, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number = len(p.marks)
	p.marks = append(p.marks, kind)
	return number, numberField + strconv.Itoa(number) + "\n" + message
}

// note adds to what is known of a mail.
func (p *post) note(number int, m mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks[number] |= m
}

// What good mails of crowds are when they have arrived.
var cleanOnWire, bigOnWire = string(wire([]byte(cleanMail))), string(wire([]byte(bigMail)))

// take notes what a server has got as a whole. False: it is no mail of a crowd.
func (p *post) take(mail string) bool {
	_, text := split(mail)
	text, numbered := strings.CutPrefix(text, numberField)
	if !numbered {
		return false
	}
	word, text, _ := strings.Cut(text, "\r\n")
	number, err := strconv.Atoi(word)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil || number < 0 || number >= len(p.marks):
		p.faults = append(p.faults, fmt.Errorf("delivered: number %q", word))
		return true
	case p.marks[number]&isTaken != 0:
		p.marks[number] |= isDoubled
	}
	p.marks[number] |= isTaken
	if p.marks[number]&isBad == 0 && text != cleanOnWire && text != bigOnWire {
		p.faults = append(p.faults, fmt.Errorf("mail %d was delivered as %.1000q", number, text))
	}
	return true
}

// judge looks for what must never be, once no mail is under way.
func (p *post) judge() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := p.faults
	for number, m := range p.marks {
		var what string
		switch {
		case m&isBad != 0 && m&(isTaken|isAccepted) != 0:
			what = "is bad, and got through"
		case m&isDoubled != 0:
			what = "was delivered twice"
		case m&isAccepted != 0 && m&isTaken == 0:
			what = "is lost: its client was told that it was taken"
		case m&isDenied != 0 && m&isTaken != 0:
			what = "was refused by us, though the server has taken it"
		default:
			continue
		}
		errs = append(errs, fmt.Errorf("mail %d %s (%08b)", number, what, m))
	}
	return errors.Join(errs...)
}

// count returns how many mails have all of these marks.
func (p *post) count(all mark) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.marks {
		if m&all == all {
			n++
		}
	}
	return n
}
