package oauth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
)

// Role is one of the built-in roles of an IoT hub (service-api 1.5).
type Role uint8

// The four roles.
const (
	DataOwner Role = iota
	DataReader
	RegistryContributor
	TwinContributor
)

// roles holds what each role may do. ops names operations of the gate; nil
// means everything that the rights allow.
var roles = [...]struct {
	name   string
	rights nave.Right
	ops    []string
}{
	DataOwner: {"data owner", nave.RegistryRead | nave.RegistryWrite | nave.ServiceConnect, nil},
	// Every data action that ends in /read: devices, statistics, twins.
	// Receiving feedback and events is not among them.
	DataReader: {"data reader", nave.RegistryRead | nave.ServiceConnect,
		[]string{"registry.read", "registry.list", "registry.statistics", "twin.read", "twin.query"}},
	RegistryContributor: {"registry contributor", nave.RegistryRead | nave.RegistryWrite,
		[]string{"registry.read", "registry.list", "registry.write", "registry.delete", "registry.bulk", "registry.rotate"}},
	TwinContributor: {"twin contributor", nave.ServiceConnect, []string{"twin.read", "twin.query", "twin.update"}},
}

// String returns the role as the configuration names it.
func (r Role) String() string { return roles[r].name }

// ParseRole reads the name of a role without regard to case, blanks, hyphens
// and a leading "IoT Hub"; "data contributor" is another name of the data owner.
func ParseRole(text string) (Role, error) {
	plain := strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(text))
	plain = strings.TrimPrefix(plain, "iothub")
	if plain == "datacontributor" {
		return DataOwner, nil
	}
	var names []string
	for i, r := range roles {
		if plain == strings.ReplaceAll(r.name, " ", "") {
			return Role(i), nil
		}
		names = append(names, r.name)
	}
	return 0, fmt.Errorf("%q is no role, known are %s", text, strings.Join(names, ", "))
}

// grant gives the principal the union of roles; without a role it may do
// nothing.
func grant(p *nave.Principal, all []Role) {
	p.Ops = []string{}
	for _, r := range all {
		p.Rights |= roles[r].rights
		p.Ops = append(p.Ops, roles[r].ops...)
	}
	if slices.Contains(all, DataOwner) {
		p.Ops = nil
	}
}
