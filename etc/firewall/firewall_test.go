package firewall

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	values := map[string]string{"mark": "0x2", "table": "7", "priority": "8"}
	text, err := Fill("tproxy-routes.sh", values)
	if err != nil || !strings.HasPrefix(text, "mark=0x2\ntable=7\npriority=8\n") {
		t.Errorf("%q, %v", text, err)
	}
	delete(values, "table")
	if _, err := Fill("tproxy-routes.sh", values); err == nil || !strings.Contains(err.Error(), "table") {
		t.Errorf("a definition without a value: %v", err)
	}
	if _, err := Fill("no-such.nft", nil); err == nil {
		t.Error("an example that is not there is filled in")
	}

	// A definition without a value goes, with what uses it, and nothing else.
	text, err = Fill("nftables-dnat.nft", map[string]string{
		"lan": `{ "a-long-interface", "another" }`, "mail": "{ 25 }", "gate": "1", "gate4": "192.0.2.7", "gate6": "", "direct4": "", "direct6": "{ ::1 }",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"$gate6", "gate6 =", "$direct4", "direct4 =", "192.0.2.1 "} {
		if strings.Contains(text, gone) {
			t.Errorf("%q is there:\n%s", gone, text)
		}
	}
	for _, there := range []string{
		"define lan = { \"a-long-interface\", \"another\" } # where the clients are;", "define mail = { 25 }      # what", "define gate4 = 192.0.2.7  # where",
		"$gate4:$gate\n", "@direct4 accept", "elements = $direct6", "define direct6 = { ::1 }\n",
	} {
		if !strings.Contains(text, there) {
			t.Errorf("%q is not there:\n%s", there, text)
		}
	}
}
