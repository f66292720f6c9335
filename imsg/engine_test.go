package imsg

import "testing"

// TestEngineKinds: a row says all that its readers rely on.
func TestEngineKinds(t *testing.T) {
	seen := make(map[string]bool)
	for i := range EngineKinds {
		e, k := Engine(i), Engine(i).Kind()
		switch {
		case k.Name == "" || seen[k.Name]:
			t.Errorf("engine %d has no name of its own: %q", i, k.Name)
		case (e == EngineOff) != (k.Roles == 0):
			t.Errorf("%s: roles %b", e, k.Roles)
		case k.Roles&^(RoleVirus|RoleSpam) != 0:
			t.Errorf("%s: roles nobody asks for", e)
		case len(k.Methods) > 0 && k.Roles&RoleVirus == 0:
			t.Errorf("%s has methods, but no option to choose one", e)
		}
		for _, m := range k.Methods {
			if m == MethodAuto || m == MethodFildes && !k.Unix {
				t.Errorf("%s: method %d", e, m)
			}
		}
		seen[k.Name] = true
	}
	if k := Engine(len(EngineKinds)).Kind(); k.Roles != 0 || k.Remote() {
		t.Errorf("an engine nobody knows: %+v", k)
	}
}
