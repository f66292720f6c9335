// What we write octet by octet is what a C compiler makes of the structures.

package nat

import (
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

func TestLayout(t *testing.T) {
	numbers := map[string]int{
		"NATLOOK_SADDR": saddr, "NATLOOK_DADDR": daddr, "NATLOOK_RSADDR": rsaddr, "NATLOOK_RDADDR": rdaddr,
		"NATLOOK_SPORT": sport, "NATLOOK_DPORT": dport, "NATLOOK_RSPORT": rsport, "NATLOOK_RDPORT": rdport,
		"DIRECTION_IN": pfIn, "DIRECTION_OUT": pfOut,
		"IPFOBJ_REVISION": ipfObjRevision, "IPFOBJ_SIZE": ipfObjSize,
		"NATLOOKUP_SIZE": natlookupLen, "NATLOOKUP_LOCAL": nlLocal, "NATLOOKUP_CLIENT": nlClient, "NATLOOKUP_REAL": nlReal,
		"NATLOOKUP_VERSION": nlVersion, "NATLOOKUP_FLAGS": nlFlags,
		"NATLOOKUP_INPORT": nlInPort, "NATLOOKUP_OUTPORT": nlOutPort, "NATLOOKUP_REALPORT": nlRealPort,
	}
	for name, l := range map[string]*layout{"OPENBSD": &openBSD, "FREEBSD": &freeBSD} {
		numbers[name+"_REQUEST"], numbers[name+"_SIZE"] = int(l.request), l.size
		numbers[name+"_PORTS"], numbers[name+"_AF"] = l.ports, l.af
		numbers[name+"_INET"], numbers[name+"_INET6"] = int(l.inet), int(l.inet6)
	}
	for name, o := range map[string]*ipfObject{"IPF64": &ipfObject64, "IPF32": &ipfObject32} {
		numbers[name+"_REQUEST"], numbers[name+"_SIZE"] = int(o.request), o.size
		numbers[name+"_POINTER"], numbers[name+"_KIND"] = o.pointer, o.kind
	}
	imsgtest.Layout(t, "testdata/layout.c", numbers)
}
