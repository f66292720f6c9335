// The engines scand knows: what each is called, what it may be asked, and how it
// is reached. This is what the option table, its checks and scand have in common;
// how an engine is spoken to is scand's alone.

package imsg

// Roles is a set of questions that an engine answers about a message.
type Roles uint8

// The roles.
const (
	RoleVirus Roles = 1 << iota // is there a virus in it
	RoleSpam                    // how much is it like spam: a score
)

// String names the roles.
func (r Roles) String() string {
	return [...]string{0: "", RoleVirus: "virus", RoleSpam: "spam", RoleVirus | RoleSpam: "virus and spam"}[r&(RoleVirus|RoleSpam)]
}

// Engine is a kind of scanner.
type Engine uint8

// The engines.
const (
	EngineOff Engine = iota
	EngineClamd
	EngineMksd
	EngineSpamd
	EngineBuiltin
)

// EngineKind describes an engine.
type EngineKind struct {
	Name    string // its word in antivirus_type and antispam_type
	Roles   Roles  // what it may be asked
	Unix    bool   // whether it is reached through a UNIX socket
	TCP     bool   // whether it is reached over TCP; neither: it runs in scand
	Methods []Method
}

// EngineKinds has a row for each engine, in the order in which the manual names them.
var EngineKinds = [...]EngineKind{
	EngineOff:     {Name: "off"},
	EngineClamd:   {Name: "clamd", Roles: RoleVirus, Unix: true, TCP: true, Methods: []Method{MethodFildes, MethodInstream, MethodScan}},
	EngineMksd:    {Name: "mksd", Roles: RoleVirus, Unix: true},
	EngineSpamd:   {Name: "spamassassin", Roles: RoleSpam, Unix: true, TCP: true},
	EngineBuiltin: {Name: "builtin", Roles: RoleVirus | RoleSpam},
}

// Kind returns the row of e; an engine nobody knows is one that may be asked nothing.
func (e Engine) Kind() *EngineKind {
	if int(e) >= len(EngineKinds) {
		return new(EngineKind)
	}
	return &EngineKinds[e]
}

func (e Engine) String() string { return e.Kind().Name }

// Remote tells whether the engine is a program of its own, which must be reached.
func (k *EngineKind) Remote() bool { return k.Unix || k.TCP }

// Method is how a message reaches clamd.
type Method uint8

// The words of antivirus_method. Auto is FILDES over a UNIX socket, else INSTREAM.
const (
	MethodAuto Method = iota
	MethodFildes
	MethodInstream
	MethodScan
)
