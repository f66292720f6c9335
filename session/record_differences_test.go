package session

import "slices"

// This file owns what is known to differ from the record, and why.

// difference is a reason, and the names of the dialogues that differ for it.
type difference struct {
	reason string
	names  []string
}

func (d difference) about(name string) bool { return slices.Contains(d.names, name) }

var differences = []difference{
	{
		"a lone dot is no command: a server that happens to read text would take it for the end of a message",
		[]string{
			"no chunking, way 0, AUTH 318", "no chunking, way 0, BDAT 281",
			"no chunking, way 0, before 354 191", "no chunking, way 0, before 354 193",
			"no chunking, way 0, behind the dot 207", "no chunking, way 0, masked 355",
			"no chunking, way 0, masked 356", "no chunking, way 0, masked 360",
			"no chunking, way 0, masked 361", "no chunking, way 0, masked 397",
			"no chunking, way 0, masked 398", "no chunking, way 4, AUTH 318",
			"no chunking, way 4, BDAT 260", "no chunking, way 4, BDAT 281",
			"no chunking, way 4, before 354 191", "no chunking, way 4, before 354 193",
			"no chunking, way 4, behind the dot 207", "no chunking, way 4, masked 355",
			"no chunking, way 4, masked 356", "no chunking, way 4, masked 360",
			"no chunking, way 4, masked 361", "no chunking, way 4, masked 397",
			"no chunking, way 4, masked 398", "no chunking, way 5, AUTH 318",
			"no chunking, way 5, BDAT 281", "no chunking, way 5, before 354 191",
			"no chunking, way 5, before 354 193", "no chunking, way 5, behind the dot 207",
			"no chunking, way 5, masked 355", "no chunking, way 5, masked 356",
			"no chunking, way 5, masked 360", "no chunking, way 5, masked 361",
			"no chunking, way 5, masked 397", "no chunking, way 5, masked 398", "strict, way 0, AUTH 318",
			"strict, way 0, BDAT 263", "strict, way 0, BDAT 270", "strict, way 0, BDAT 281",
			"strict, way 0, before 354 191", "strict, way 0, before 354 193",
			"strict, way 0, behind the dot 207", "strict, way 0, extensions 336",
			"strict, way 0, masked 355", "strict, way 0, masked 356", "strict, way 0, masked 360",
			"strict, way 0, masked 361", "strict, way 0, masked 397", "strict, way 0, masked 398",
			"strict, way 0, sizes 418", "strict, way 4, AUTH 318", "strict, way 4, BDAT 260",
			"strict, way 4, BDAT 281", "strict, way 4, before 354 191", "strict, way 4, before 354 193",
			"strict, way 4, behind the dot 207", "strict, way 4, masked 355", "strict, way 4, masked 356",
			"strict, way 4, masked 360", "strict, way 4, masked 361", "strict, way 4, masked 397",
			"strict, way 4, masked 398", "strict, way 5, AUTH 318", "strict, way 5, BDAT 263",
			"strict, way 5, BDAT 270", "strict, way 5, BDAT 281", "strict, way 5, before 354 191",
			"strict, way 5, before 354 193", "strict, way 5, behind the dot 207",
			"strict, way 5, extensions 336", "strict, way 5, masked 355", "strict, way 5, masked 356",
			"strict, way 5, masked 360", "strict, way 5, masked 361", "strict, way 5, masked 397",
			"strict, way 5, masked 398", "strict, way 5, sizes 418",
		},
	},
	{
		"the log says more plainly why XCLIENT failed",
		[]string{
			"02377", "02552", "03497", "04406", "04722", "05492", "06017", "06052", "07172", "08502",
			"08572",
		},
	},
	{
		"a last chunk whose message the server answers before its end gets one reply, not two",
		[]string{
			"01332", "01672", "05567",
		},
	},
	{
		"own replies whose turn has come are said before a protocol error",
		[]string{
			"01594",
		},
	},
	{
		"who was answered before the end of the message uses no quota of octets, and no lock is looked at",
		[]string{
			"02211", "05901", "03176", "03284", "04229", "patient, no STARTTLS, all logged as a whole",
			"small scans, no chunks as a whole",
		},
	},
	{
		"what is not written yet when the server answers early is not written any more",
		[]string{
			"05023",
		},
	},
	{
		"the client is gone on with as soon as a reply is read, whatever the server does next",
		[]string{
			"01615", "02586", "05372", "06931", "errors ignored as a whole",
		},
	},
	{
		"a client that has closed its half is noticed while it waits for the server",
		[]string{
			"06162", "07328", "07363",
		},
	},
	{
		"a spool file whose scan came to no end is not used again: the next message is scanned",
		[]string{
			"lost spool, errors ignored: true as a whole", "lost spool, errors ignored: true, a chunk",
			"lost spool, errors ignored: true, a chunk, then RSET",
			"lost spool, errors ignored: true, a chunk, then none",
			"lost spool, errors ignored: true, text", "lost spool, errors ignored: true, text goes on",
			"lost spool, errors ignored: true, the last chunk",
		},
	},
}
