package dpsapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

func TestRegistrationRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-193 registration state", func(t *testing.T) {
		c := c.in(t)
		d := k.enrol(t, "Reg-A")
		c.do("GET", "/registrations/reg-a", "").want(404, 404202)
		a := d.assigned("")
		x := c.do("GET", "/registrations/reg-a", "").want(200, 0).is("registrationId", "Reg-A", "status", "assigned", "substatus", "initialAssignment",
			"deviceId", "Reg-A", "etag", a.get("registrationState.etag"), "assignedHub", a.get("registrationState.assignedHub"))
		if x.get("createdDateTimeUtc") == "" || x.get("lastUpdatedDateTimeUtc") == "" || x.get("etag") == "" || x.at("attestationType") != nil || x.at("symmetricKey") != nil {
			t.Errorf("%s", x.raw)
		}
		y := c.do("GET", "/enrollments/reg-a", "").want(200, 0)
		if fmt.Sprint(y.at("registrationState")) != fmt.Sprint(x.body) {
			t.Errorf("%s in the enrolment, %s", y.raw, x.raw)
		}
		c.do("DELETE", "/registrations/reg-a", "", "If-Match: other").want(412, 412001)
		c.do("DELETE", "/registrations/reg-a", "", "If-Match: "+x.get("etag")).want(204, 0)
		c.do("DELETE", "/registrations/reg-a", "").want(404, 404202)
		c.do("GET", "/enrollments/reg-a", "").want(200, 0).is("registrationState.status", "unassigned")
	})
	t.Run("DPS-194 another device id", func(t *testing.T) {
		c := c.in(t)
		d := k.enrol(t, "moves")
		hub := d.assigned("").get("registrationState.assignedHub")
		c.do("DELETE", "/registrations/moves", "").want(204, 0)
		body := string(c.do("GET", "/enrollments/moves", "").raw)
		c.do("PUT", "/enrollments/moves", `{"deviceId":"moved",`+body[1:]).want(200, 0).is("deviceId", "moved")
		if a := d.assigned(""); a.get("registrationState.deviceId") != "moved" || a.get("registrationState.substatus") != "initialAssignment" {
			t.Errorf("%s", a.raw)
		}
		back := k.hubs[hub].Backend(&nave.Principal{Name: "test", Rights: nave.RegistryRead, Proof: "policy"})
		if _, err := back.Device(within(t), nave.ID{Device: "moves"}); err != nil {
			t.Error("the old device is gone:", err)
		}
	})
	t.Run("DPS-196 registrations of a group", func(t *testing.T) {
		c := c.in(t)
		key := cred.NewLongKey()
		c.do("PUT", "/enrollmentGroups/Grp", fmt.Sprintf(`{"enrollmentGroupId":"Grp","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q}}}`, key)).want(200, 0)
		for i := range 3 {
			id := fmt.Sprint("member-", i)
			derived, err := cred.Derive(key, id)
			if err != nil {
				t.Fatal(err)
			}
			k.device(t, id).withKey(derived).assigned("")
		}
		x := c.do("POST", "/registrations/GRP/query", `{"query":"SELECT * FROM registrations"}`).want(200, 0)
		if x.head("x-ms-item-type") != "DeviceRegistration" || fmt.Sprint(x.list("registrationId")) != "[member-0 member-1 member-2]" || x.list("status")[0] != "assigned" {
			t.Errorf("%s", x.raw)
		}
		if got := fmt.Sprint(c.query("/registrations/grp/query", "", "registrationId", 2)); got != "[[member-0 member-1] [member-2]]" {
			t.Error(got)
		}
		c.do("POST", "/registrations/Grp/query", "").want(200, 0)
	})
	t.Run("DPS-197 registrations of no group", func(t *testing.T) {
		c.in(t).do("POST", "/registrations/none/query", "").want(404, 404204)
	})
	t.Run("deleting an enrolment deletes its registration", func(t *testing.T) {
		c := c.in(t)
		k.enrol(t, "both").assigned("")
		c.do("DELETE", "/enrollments/both", "").want(204, 0)
		c.do("GET", "/registrations/both", "").want(404, 404202)
	})
}

func TestRegistrationWhileAssigning(t *testing.T) {
	asked, hold := make(chan struct{}, 1), make(chan struct{})
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-hold
		fmt.Fprintf(w, `{"iotHubHostName":%q}`, hubHosts[0])
	}))
	defer hook.Close()
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	c := k.owner(t)
	t.Run("DPS-195 DELETE while assigning", func(t *testing.T) {
		d := k.enrol(t, "slow", func(e *dps.Enrollment) {
			e.Allocation, e.Custom = dps.AllocateCustom, &dps.CustomAllocation{URL: hook.URL, Version: "2019-03-31"}
		})
		operation := d.register("").get("operationId")
		<-asked
		c.in(t).do("DELETE", "/registrations/slow", "").want(409, 409203)
		close(hold)
		a := d.finished(operation, func() *answer { return d.poll(operation) })
		if a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
		c.in(t).do("DELETE", "/registrations/slow", "").want(204, 0)
	})
}
