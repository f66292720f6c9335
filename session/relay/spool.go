package relay

import "slices"

// This file owns what is to be done to the spool file, in which order, and what is
// known of it.

// Job is one thing to be done to the session's spool file.
type Job struct {
	Do   Work
	Text []byte  // of Begin and Write; valid until Done
	text *[]byte // where it is collected; nil: it is lent, or there is none
}

// Work is what a job is.
type Work uint8

// The jobs.
const (
	Begin Work = iota + 1 // empty the file, or make it, and write Text
	Write                 // append Text
	Empty                 // the message is over: empty the file
	Keep                  // the message is over: it keeps its file for good
	Drop                  // nobody will look: remove the file
)

// jobs are what is to be done to the spool, in order.
type jobs struct {
	list  []Job
	doing bool
}

func (j *jobs) pop() Job {
	job := j.list[0]
	if job.text != nil {
		buffers.Put(job.text)
	}
	j.list = j.list[:copy(j.list, j.list[1:])]
	return job
}

// lent tells whether there is text among them that is lent.
func (j *jobs) lent() bool {
	return slices.ContainsFunc(j.list, func(job Job) bool { return job.Do == Write && job.text == nil })
}

func (s *shared) spoolBusy() bool { return len(s.jobs.list) > 0 }

// job has something done that has no text.
func (s *shared) job(w Work) { s.jobs.list = append(s.jobs.list, Job{Do: w}) }

// spoolBuffer is where text for the spool is collected.
func (s *shared) spoolBuffer(w Work) *[]byte {
	b := buffers.Get().(*[]byte)
	*b = (*b)[:0]
	s.jobs.list = append(s.jobs.list, Job{Do: w, text: b})
	return b
}

// Job returns the next thing to be done to the spool. False: there is nothing, or what
// was to be done before is not done yet.
func (r *Relay) Job() (Job, bool) {
	j := &r.shared.jobs
	if j.doing || len(j.list) == 0 {
		return Job{}, false
	}
	j.doing = true
	if text := j.list[0].text; text != nil {
		j.list[0].Text = *text
	}
	return j.list[0], true
}

// HasJob tells whether Job would return one.
func (r *Relay) HasJob() bool { return !r.shared.jobs.doing && len(r.shared.jobs.list) > 0 }

// Done says that a job was done, or that it could not be. kept is the name under which
// a file was kept.
func (r *Relay) Done(kept string, err error) {
	j := &r.shared.jobs
	job := j.pop()
	j.doing = false
	r.client.spooled(job.Do, kept, err)
	r.client.run(nil)
}

// spoolText is where text for the spool is collected, behind what waits already;
// trimSpool is due when that is done.
func (s *shared) spoolText() *[]byte {
	j := &s.jobs
	if last := len(j.list) - 1; last >= 0 && j.list[last].Do == Write && j.list[last].text != nil && !(j.doing && last == 0) {
		return j.list[last].text
	}
	return s.spoolBuffer(Write)
}

// trimSpool drops a job that came to nothing.
func (s *shared) trimSpool() {
	j := &s.jobs
	if last := len(j.list) - 1; len(*j.list[last].text) == 0 {
		buffers.Put(j.list[last].text)
		j.list = j.list[:last]
	}
}
