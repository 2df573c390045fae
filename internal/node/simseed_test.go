package node_test

import (
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/oauth"
)

// TestSIMSeed starts hubs that are new, and once more: each is a tenant with an
// account and a tariff, what an operator has removed does not come back, and
// addresses in answers begin with the name that was dialled.
func TestSIMSeed(t *testing.T) {
	t.Parallel()
	c := navetest.Configure(t, second)
	k := navetest.Run(t, c)
	type list struct {
		Entities []struct{ Account, ID string }
		Links    []struct{ URL string }
	}
	a := simApp(t, k)
	var found list
	a.call("GET", "/platform", "", &found, 200)
	if len(found.Entities) != 1 || found.Entities[0].Account != "HUBSIM_1" {
		t.Errorf("%+v", found)
	}
	a.call("GET", "/productOffering", "", &found, 200)
	if len(found.Entities) != 1 || found.Entities[0].ID != "off-default" {
		t.Errorf("%+v", found)
	}
	other := simAppOf(t, k, "second")
	for _, host := range []string{"second.test", "gw.second.test", navetest.Host} {
		other.base = "https://" + host + "/api/connectivity/v1/second"
		other.call("GET", "/platform", "", &found, 200)
		if len(found.Entities) != 1 || !strings.HasPrefix(found.Links[0].URL, other.base) {
			t.Errorf("%s: %+v", host, found)
		}
	}
	a.call("DELETE", "/platform/HUBSIM_1", "", nil, 204)
	k.Close()
	k = navetest.Run(t, c)
	_, apps := k.Node.Connectivity()
	all, _, err := apps.Apps(t.Context(), "hub", 0, 10)
	if err != nil || len(all) != 1 || !oauth.Allows(all[0].Permissions, oauth.APIPlatforms, oauth.ReadWrite) {
		t.Fatalf("%+v, %v", all, err)
	}
	again := simAppNamed(t, k, "hub", "again")
	again.call("GET", "/platform", "", &found, 200)
	if len(found.Entities) != 0 {
		t.Errorf("it came back: %+v", found)
	}
}
