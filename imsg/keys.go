// What is said of certificates, of their private keys, which one room alone has, and of
// the keys that session tickets are sealed with. A worker sees none of these keys: it
// asks for what they do.

package imsg

import "time"

// Bounds of what is said here.
const (
	// MaxCertificates is how many there may be.
	MaxCertificates = 100
	// ChainParts and ChainPart are how a chain is told: in so many parts at most of so
	// many octets.
	ChainParts = 14
	ChainPart  = 4096
	// MaxSigned is what is signed at once: a digest, or, for keys that take no digest,
	// what RFC 8446 section 4.4.3 or RFC 5246 section 7.4.3 has signed.
	MaxSigned = 256
	// MaxSignature is what a key of RSA of 8192 bits signs with.
	MaxSignature = 1024
	// MaxTicketState is what a session remembers of a handshake, MaxTicket the same,
	// sealed.
	MaxTicketState = 4096
	MaxTicket      = MaxTicketState + 64
	// EndsSoon is how long before its end a certificate is to be renewed: two weeks behind
	// the day certbot does that.
	EndsSoon = 14 * 24 * time.Hour
	// TicketIDLen and TicketSecretLen are those of a key, in octets.
	TicketIDLen     = 8
	TicketSecretLen = 32
)

// How often a worker may ask the keys room. Who asks more hears Busy: clients decide how
// many handshakes there are.
var (
	// Signatures: a key of RSA of 2048 bits makes 1,300 a second on one CPU.
	Signatures = Pace{Burst: 1000, Every: time.Millisecond}
	// Tickets: one is sealed a handshake, and up to five are shown.
	Tickets = Pace{Burst: 10000, Every: 100 * time.Microsecond}
)

// KeysConfig is what the keys room is told. A Pair follows for each certificate, or a
// PairLost.
type KeysConfig struct {
	Certificates []PairNames // at most MaxCertificates
	Generation   int
	Strict       bool    // one that cannot be used is an error
	Shown        []int64 // by number: until when those in force are shown one to be trusted, Unix seconds
	Old          bool    // SHA-1 is signed, as TLS before 1.2 has it
}

func (*KeysConfig) notice() {}

// PairNames are the files of a certificate as the administrator calls them.
type PairNames struct{ Chain, Key string }

// Pair hands over the files of a certificate, that of the chain and that of the private
// key: at first, and whenever they are others.
type Pair struct{ Number int } // in KeysConfig

func (*Pair) notice() {}

// PairLost says why these files cannot be opened.
type PairLost struct {
	Number  int
	Problem string
}

func (*PairLost) notice() {}

// Shown says that clients are shown another certificate from now on.
type Shown struct {
	Number int   `rule:"0..MaxCertificates"`
	Until  int64 `rule:"0.."` // it can be trusted, Unix seconds; 0: not now
}

func (*Shown) notice() {}

// ShownPace is how often the keys room says so at most: at first, and when all files are
// others, which is found out once a second.
var ShownPace = Pace{Burst: 4 * MaxCertificates, Every: time.Second / MaxCertificates}

// TicketKeys are those that tickets are sealed with and opened. The first is for new ones.
type TicketKeys struct{ Keys []TicketKey }

func (*TicketKeys) notice() {}

// TicketKey is one: AES-256, with a name by which a ticket tells it.
type TicketKey struct{ ID, Secret string }

// Certificate tells a worker of a certificate, anew when there is another with its number.
type Certificate struct {
	Number int      `rule:"0..MaxCertificates"`
	ID     uint64   `rule:"any: it comes back in Sign"`
	Parts  []string `rule:"1..ChainParts each 1..ChainPart free: DER, which its receiver parses"` // of the chain, the certificate for clients first
}

func (*Certificate) notice() {}

// Sign asks for a signature by the key of a certificate.
type Sign struct {
	ID     uint64 `rule:"any: looked up"`
	Hash   uint8  `rule:"any: held against the key and the length of Digest"` // as package crypto numbers them
	PSS    bool
	Digest string `rule:"1..MaxSigned free: octets to sign"`
}

func (*Sign) answer(*Signature) {}

// Signature answers Sign.
type Signature struct {
	Octets string `rule:"1..MaxSignature free: they go to the client, which verifies them"`
}

// SealTicket asks for a ticket.
type SealTicket struct {
	State string `rule:"1..MaxTicketState free: nobody else reads it"`
}

func (*SealTicket) answer(*Ticket) {}

// Ticket answers SealTicket.
type Ticket struct {
	Octets string `rule:"1..MaxTicket free: they go to the client, and come back"`
}

// OpenTicket asks what a ticket has.
type OpenTicket struct {
	Octets string `rule:"1..MaxTicket free: a client's"`
}

func (*OpenTicket) answer(*TicketState) {}

// TicketState answers OpenTicket.
type TicketState struct {
	State string `rule:"..MaxTicketState free: its asker parses it"` // empty: the ticket is none of ours, or too old
}

// Certificates tells lockd of all there are, whenever something of that has changed.
type Certificates struct {
	Generation int                 `rule:"0.."`
	List       []CertificateStatus `rule:"..MaxCertificates"` // by number
}

func (*Certificates) notice() {}

// CertificateStatus is how a certificate is.
type CertificateStatus struct {
	Name    string `rule:"..100 printable"`               // the first it is for
	Begin   int64  `rule:"any: it is compared and shown"` // of its life, Unix seconds
	End     int64  `rule:"any: it is compared and shown"` // 0: there is none
	Problem string `rule:"..200 printable"`               // why the one on disk was not taken; empty: it was
}
