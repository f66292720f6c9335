// Which values of the enumerations and sets that messages hold mean anything. This
// file owns that list; what they mean stands with each.

package imsg

// enumeration is a type of which not every value means something.
type enumeration interface{ known() bool }

func (r Room) known() bool        { return r >= Parent && r <= Reader }
func (k Errno) known() bool       { return k <= ReadOnly }
func (s MemberState) known() bool { return s >= Starting && s <= Draining }
func (f LinkFault) known() bool   { return f < linkFaults }

func (r Refusal) known() bool   { return r <= RefusedLogin }
func (s State) known() bool     { return s < States }
func (f AuthFlags) known() bool { return f < AuthRejected<<1 }
func (f Found) known() bool     { return int(f) < len(foundWords) }

func (e Exempt) known() bool    { return e < Exempts }
func (s ExemptSet) known() bool { return int(s) < 1<<Exempts }

func (r Rate) known() bool    { return r <= RateTargets }
func (s RateSet) known() bool { return int(s) < 1<<(RateTargets+1) }

func (v SPFVerdict) known() bool { return v <= SPFPermError }
func (d DNSOutcome) known() bool { return d <= DNSSilent }

func (e Engine) known() bool  { return int(e) < len(EngineKinds) }
func (r Roles) known() bool   { return r < RoleSpam<<1 }
func (o Outcome) known() bool { return o <= TimedOut }

func (k EventKind) known() bool     { return k < EventKinds }
func (s PolicyRuleSet) known() bool { return s&^monitored == 0 }

func (r PolicyRule) known() bool { return r < PolicyRules }
func (f FindingID) known() bool  { return f < FindingIDs }
func (h Health) known() bool     { return h <= Down }

func (b By) known() bool { return b <= ByBoth }
