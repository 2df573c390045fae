package simapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const list = b + "/product"

const missing = "Missing or malformed parameter"

// link returns the address of the link of a type, "" without one.
func (a *answer) link(kind string) string {
	all, _ := a.get("links").([]any)
	for _, l := range all {
		if dig(l, "type") == kind {
			return dig(l, "url").(string)
		}
	}
	return ""
}

func TestListRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-047 all products in order", func(x *row) {
		a := x.get(list).want(200)
		a.ids(s7, s1, s2, s3, s4, s5, s6, s8)
		a.is("statistics", map[string]int{"currentPage": 1, "pageSize": 10, "count": 8, "totalCount": 8}).has("X-Total-Count", "8").has("X-Result-Count", "8")
	})
	s.row(t, "SIM-048 first page", func(x *row) {
		a := x.get(list + "?pageSize=3")
		a.ids(s7, s1, s2)
		if a.link("self") == "" || a.link("first") == "" || a.link("last") == "" || a.link("prev") != "" || !strings.HasSuffix(a.link("next"), "?pageSize=3&pageNumber=2") {
			x.Error(a.get("links"))
		}
		if h := a.header.Get("Link"); !strings.Contains(h, "<"+a.link("next")+`>; rel="next"`) {
			x.Error(h)
		}
	})
	s.row(t, "SIM-049 last page", func(x *row) {
		a := x.get(list + "?pageSize=3&pageNumber=3")
		a.ids(s6, s8)
		if a.link("next") != "" || !strings.HasSuffix(a.link("prev"), "pageNumber=2") {
			x.Error(a.get("links"))
		}
	})
	s.row(t, "SIM-050 beyond the end", func(x *row) {
		x.get(list+"?pageSize=3&pageNumber=4").want(200).is("entities", []any{}).is("statistics.count", 0).is("statistics.totalCount", 8).is("warnings", nil)
	})
	s.row(t, "SIM-051 no number", func(x *row) {
		x.get(list+"?pageSize=ten").problem(400, missing, "…").issue(0, "pageSize", "invalid_value").is("errors.0.in", "query")
	})
	s.row(t, "SIM-052 page 0", func(x *row) {
		x.get(list+"?pageNumber=0").problem(400, missing, "…").issue(0, "pageNumber", "")
	})
	s.row(t, "SIM-053 other bad numbers", func(x *row) {
		for _, v := range []string{"-1", "1.5", "010", "", "5%20", "1e2", "+5", "0", "9999999999"} {
			x.get(list+"?pageSize="+v).problem(400, missing, "…").issue(0, "pageSize", "invalid_value")
		}
	})
	s.row(t, "SIM-054 a page too large", func(x *row) {
		a := x.get(list+"?pageSize=1001").problem(400, missing, "…").issue(0, "pageSize", "out_of_range")
		if !strings.Contains(a.get("detail").(string), "1000") {
			x.Error(a.get("detail"))
		}
	})
	s.row(t, "SIM-055 a number twice", func(x *row) {
		x.get(list+"?pageSize=5&pageSize=6").problem(400, missing, "…").issue(0, "pageSize", "repeated_parameter")
	})
	s.row(t, "SIM-056 all issues at once", func(x *row) {
		if a := x.get(list+"?pageSize=x&pageNumber=y").problem(400, missing, "…"); len(a.get("errors").([]any)) != 2 {
			x.Error(a.get("errors"))
		}
	})
	s.row(t, "SIM-057 sorted", func(x *row) {
		x.get(list+"?sort=-id&pageSize=2").ids(s8, s6)
		x.get(list+"?sort=status,-id&pageSize=3").ids(s8, s6, s1)
	})
	s.row(t, "SIM-058 sorted by what is not there", func(x *row) {
		x.get(list+"?sort=colour").problem(400, missing, "…").issue(0, "sort", "")
	})
	s.row(t, "SIM-059 no other tenant's products", func(x *row) {
		for _, q := range []string{"", "?platform=HUBSIM", "?iccid=" + s9[7:], "?id=" + s9} {
			if a := x.get(list + q).want(200); strings.Contains(mustJSON(a.get("entities")), s9) {
				x.Error(q)
			}
		}
	})
	s.row(t, "SIM-222 members of a list", func(x *row) {
		m := x.get(list + "?pageSize=1").get("entities.0").(map[string]any)
		want := []string{"@baseType", "@type", "connectivityType", "device", "href", "id", "isBundle", "productCharacteristic", "productOffering", "relatedParty", "status"}
		if got := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			x.Error(got)
		}
	})
}

// filterCase is one row of 16.6: what a query gives, and why nothing.
type filterCase struct {
	row, query string
	ids        []string
	warning    string // "parameter code"
}

var filterCases = []filterCase{
	{"SIM-061", "status=ACTIVE", []string{s7, s1, s6, s8}, ""},
	{"SIM-062", "status=BLOCKED", nil, ""},
	{"SIM-063", "status=ACTIV", nil, "status invalid_value"},
	{"SIM-064", "status=active", nil, "status invalid_value"},
	{"SIM-064", "iccid=abc", nil, "iccid invalid_value"},
	{"SIM-065", "status=ACTIVE%20", nil, "status surrounding_whitespace"},
	{"SIM-066", "status=ACTIVE+", nil, "status surrounding_whitespace"},
	{"SIM-066", "status=%09ACTIVE", nil, "status surrounding_whitespace"},
	{"SIM-067", "status=ACT*", nil, "status special_character"},
	{"SIM-068", "status=%22ACTIVE%22", nil, "status special_character"},
	{"SIM-069", "status=", nil, "status not_a_string"},
	{"SIM-070", "status[]=ACTIVE", nil, "status not_a_string"},
	{"SIM-070", "status%5B0%5D=ACTIVE", nil, "status not_a_string"},
	{"SIM-071", "status=ACTIVE&status=SUSPENDED", nil, "status not_a_string"},
	{"SIM-072", "status=%7B%22eq%22:%22ACTIVE%22%7D", nil, "status not_a_string"},
	{"SIM-073", "status=ACTIVE,SUSPENDED", []string{s7, s1, s2, s6, s8}, ""},
	{"SIM-074", "status=ACTIVE,%20SUSPENDED", nil, "status surrounding_whitespace"},
	{"SIM-075", "status=ACTIVE,", nil, "status not_a_string"},
	{"SIM-076", "status=ACTIVE&platform=HUBSIM", []string{s1, s6}, ""},
	{"SIM-077", "platform=NOSUCH", nil, ""},
	{"SIM-078", "iccid=8900101000000000019", []string{s1}, ""},
	{"SIM-079", "iccid=890010100000000001", nil, ""},
	{"SIM-080", "msisdn=+999000000001", nil, "msisdn surrounding_whitespace"},
	{"SIM-081", "msisdn=%2B999000000001", nil, "msisdn special_character"},
	{"SIM-082", "iccid.gte=8900101000000000027&iccid.lte=8900101000000000043", []string{s2, s3, s4}, ""},
	{"SIM-083", "linked=true", []string{s1, s5}, ""},
	{"SIM-084", "customProperty.site=Bonn%203", []string{s1}, ""},
	{"SIM-085", "customProperty.site=Bonn%203%20", nil, "customProperty.site surrounding_whitespace"},
	{"SIM-093", "fields=foo", nil, "fields invalid_value"},
	{"SIM-094", "fields=id,foo", nil, "fields invalid_value"},
	{"SIM-095", "fields=id%20", nil, "fields surrounding_whitespace"},
	{"SIM-096", "fields=ID", nil, "fields invalid_value"},
	{"SIM-097", "fields=%5B%22id%22%5D", nil, "fields not_a_string"},
	{"SIM-097", "fields=", nil, "fields not_a_string"},
	// Section 8.4 where 16.6 has no row, and what 8.3 says beyond it.
	{"8.4-15", "iccid=89001010000000000190", nil, ""},
	{"8.4-16", "iccid=8.9001010000000002e18", nil, "iccid special_character"},
	{"8.4-17", "iccid=8900-1010-0000", nil, "iccid special_character"},
	{"8.3", "linked=yes", nil, "linked invalid_value"},
	{"8.3", "linked=false&platform=HUBSIM", []string{s2, s3, s4, s6}, ""},
	{"8.3", "id=" + s1 + "," + s8, []string{s1, s8}, ""},
	{"8.3", "connectivityType=LTE", nil, "connectivityType invalid_value"},
	{"8.3", "connectivityType=SATELLITE", nil, ""},
	{"8.3", "relatedParty.name=ASIM_1,REMOTE_1", []string{s7, s8}, ""},
	{"8.3", "productOffering.name=500%20MB%20monthly", []string{s1, s2, s3}, ""},
	{"8.3", "imsi=001010000000001", []string{s1}, ""},
	{"8.3", "deviceId=dev-1", []string{s1}, ""},
	{"8.3", "deviceId=dev%201", nil, "deviceId special_character"},
	{"8.3", "customProperty.nosuch=x", nil, ""},
	{"8.3", "iccid.gte=890010100000000002", nil, ""},
	{"8.3", "platform=HUBSIM&iccid.gte=8900101000000000027&iccid.lte=8900101000000000043", []string{s2, s3, s4}, ""},
	{"8.3", "platform=HUBSIM&iccid.lte=8900101000000000043&sort=-id", []string{s4, s3, s2, s1}, ""},
	{"8.3", "status=ACTIVE%00", nil, "status special_character"},
	{"8.3", "status=%C2%A0ACTIVE", nil, "status surrounding_whitespace"},
}

func TestFilterRows(t *testing.T) {
	s := open(t)
	for _, c := range filterCases {
		s.row(t, c.row+" "+c.query, func(x *row) { x.filter(c) })
	}
	s.row(t, "SIM-086 unknown parameter", func(x *row) {
		x.get(list+"?stauts=ACTIVE").problem(400, missing, "…").issue(0, "stauts", "unknown_parameter")
		x.get(list+"?customProperty.=x").problem(400, missing, "…").issue(0, "", "unknown_parameter")
		x.get(b+"/product/"+s1+"?sort=id").problem(400, missing, "…").issue(0, "sort", "unknown_parameter")
	})
	s.row(t, "SIM-087 SIM-088 a query that cannot be decoded", func(x *row) {
		for _, q := range []string{"status=%ZZ", "fields=id;status", "status=%FF", "%=1"} {
			x.get(list+"?"+q).problem(400, "Bad Request", "malformed_query")
		}
	})
	s.row(t, "SIM-089 parameters before filters", func(x *row) {
		a := x.get(list+"?status=ACTIV&pageSize=x").problem(400, missing, "…").issue(0, "pageSize", "")
		if len(a.get("errors").([]any)) != 1 {
			x.Error(a.get("errors"))
		}
	})
	s.row(t, "SIM-090 strict handling", func(x *row) {
		x.get(list+"?status=ACTIVE%20", "Prefer: handling=strict").problem(400, missing, "…").issue(0, "status", "surrounding_whitespace").has("Preference-Applied", "handling=strict")
	})
	s.row(t, "SIM-091 SIM-092 projection", func(x *row) {
		x.get(list+"?fields=status&pageSize=1").is("entities", []any{map[string]any{"status": "ACTIVE"}})
		x.get(list+"?fields=id%2CconnectivityType%2Cstatus&pageSize=1").is("entities", []any{map[string]any{"id": s7, "connectivityType": "CELLULAR", "status": "ACTIVE"}})
		x.get(list+"?fields=status,status,bucketCounter&pageSize=1").is("entities", []any{map[string]any{"status": "ACTIVE"}})
		if a := x.get(list + "?fields=productRelationship&pageSize=1&platform=HUBSIM"); len(a.get("entities.0.productRelationship").([]any)) != 3 {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "SIM-098 strict projection", func(x *row) {
		x.get(list+"?fields=id,foo", "Prefer: handling=strict").problem(400, missing, "…").issue(0, "fields", "invalid_value")
	})
}

// filter checks a case in lenient and in strict handling.
func (x *row) filter(c filterCase) {
	x.Helper()
	a := x.get(list + "?" + c.query).want(200)
	if strings.HasPrefix(c.query, "fields") && c.warning == "" {
		return
	}
	a.ids(c.ids...).is("statistics.totalCount", len(c.ids)).is("statistics.count", len(c.ids))
	if c.warning == "" {
		a.is("warnings", nil).has("Hub-Warning", "")
		x.get(list+"?"+c.query, "Prefer: handling=strict").want(200)
		return
	}
	parameter, code, _ := strings.Cut(c.warning, " ")
	a.is("warnings.0.parameter", parameter).is("warnings.0.code", code).has("Hub-Warning", fmt.Sprintf("%s;param=%q", code, parameter))
	x.get(list+"?"+c.query, "Prefer: handling=strict").problem(400, missing, "…").issue(0, parameter, code)
}

func TestProductRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-099 a composite", func(x *row) {
		a := x.get(list + "/" + s1).want(200)
		a.is("relatedParty.0", map[string]string{"id": "local", "name": "HUBSIM_1", "role": "customer"}).is("device.id", "dev-1")
		if n := len(a.get("productRelationship").([]any)); n != 3 {
			x.Error(n, string(a.raw))
		}
	})
	s.row(t, "SIM-100 a part", func(x *row) {
		a := x.get(list+"/"+s1+"-simCard").want(200).is("@type", "simCard")
		all, _ := json.Marshal(a.get("productCharacteristic"))
		if !strings.Contains(string(all), `{"name":"ICCID","value":"8900101000000000019"}`) {
			x.Error(string(all))
		}
	})
	s.row(t, "SIM-101 SIM-102 SIM-103 SIM-104 other ids", func(x *row) {
		for _, id := range []string{s1 + "%20", "%20" + s1, "", strings.ToLower(s1), s9, s1 + "/", "%00", "%FF", s1 + "%00", s1 + "%2Fusage"} {
			if a := x.get(list + "/" + id); a.status != 404 {
				x.Error(id, a.status)
			} else if a.get("code") != "product_not_found" && id != s1+"/" {
				x.Error(id, a.get("code"))
			}
		}
	})
	s.row(t, "SIM-105 SIM-106 SIM-107 a filter is a condition", func(x *row) {
		x.get(list + "/" + s1 + "?status=ACTIVE").want(200)
		x.get(list+"/"+s1+"?status=SUSPENDED").problem(404, "Not Found", "no_match")
		x.get(list+"/"+s1+"?status=ACTIVE%20").problem(404, "Not Found", "no_match")
		x.get(list + "/" + s1 + "?customProperty.site=Bonn%203&iccid=8900101000000000019&linked=true&deviceId=dev-1").want(200)
		x.get(list+"/"+s1+"?customProperty.site=Bonn").problem(404, "Not Found", "no_match")
		x.get(list + "/" + s1 + "-simCard?status=ACTIVE").want(200)
	})
	s.row(t, "SIM-108 bad fields of one product", func(x *row) {
		a := x.get(list+"/"+s1+"?fields=foo").want(200).has("Hub-Warning", `invalid_value;param="fields"`)
		if string(a.raw) != "{}" {
			x.Error(string(a.raw))
		}
		x.get(list+"/"+s1+"?fields=foo", "Prefer: handling=strict").problem(400, missing, "…")
		if a := x.get(list + "/" + s1 + "?fields=id,status"); string(a.raw) != `{"id":"`+s1+`","status":"ACTIVE"}` {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "SIM-109 a part that is not there", func(x *row) {
		x.get(list+"/"+s1+"-usageVolume-voice").problem(404, "Not Found", "no_data")
	})
}

func TestFindRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-110 SIM-111 find", func(x *row) {
		a := x.post(list+"/find", `{"iccidList":["8900101000000000019","8900101000000009999"]}`).want(200)
		a.ids(s1).is("errors.0.status", 404).is("errors.0.code", "product_not_found")
		if len(a.get("errors").([]any)) != 1 || !strings.Contains(a.get("errors.0.detail").(string), "8900101000000009999") || a.get("entities.0.productRelationship") == nil {
			x.Error(string(a.raw))
		}
		if err := valid("Product", []byte(mustJSON(a.get("entities.0")))); err != nil {
			x.Error(err)
		}
		x.post(list+"/find", `{"iccidList":["8900101000000009999"],"imsiList":["1"]}`).want(200).ids().is("errors.1.status", 404)
		x.post(list+"/find", `{"deviceIdList":["dev-5"],"imsiList":["001010000000001"],"idList":["`+s8+`"]}`).want(200).is("statistics.totalCount", 3)
	})
	s.row(t, "SIM-112 a number for an identifier", func(x *row) {
		x.post(list+"/find", `{"iccidList":[8900101000000000019]}`).problem(400, missing, "…").issue(0, "/iccidList/0", "not_a_string")
	})
	s.row(t, "characters that no text may have", func(x *row) {
		for _, q := range []request{{method: "POST", path: list + "/find", body: `{"iccidList":["\u0000"]}`}, {method: "PUT", path: list + "/" + s6 + "/device", body: `{"deviceId":"a\u0000"}`},
			{method: "POST", path: bulk, body: `{"status":"ACTIVE","iccid":["` + s1[7:] + `"],"reason":"\u0000"}`},
			{method: "POST", path: aam + "/application", body: strings.Replace(appBody, "ops@", "o\\u0000ps@", 1), as: x.a},
			{method: "POST", path: list, body: `{"account":"\u0000","sim":[{}]}`, as: x.a}} {
			x.do(q).problem(400, missing, "…").issue(0, "", "special_character")
		}
		x.get(b+"/monitor?sourceHref="+list+"/x%00").problem(400, missing, "…")
		x.form(tokenURL, nil, "grant_type", "client_credentials", "client_id", "\x00", "client_secret", "\xff").want(401)
		for _, path := range []string{"/monitor/%00", "/task/%FF", "/platform/%00", "/productOffering/%00", "/product/" + s1 + "/sms/%00", "/product/%FF-simCard"} {
			x.get(b + path).want(404)
		}
		x.as(x.a, "GET", aam+"/application/%00", "").want(404)
	})
	s.row(t, "SIM-113 blanks are not trimmed", func(x *row) {
		a := x.post(list+"/find", `{"iccidList":["8900101000000000019 ",""]}`).want(200).ids()
		if len(a.get("errors").([]any)) != 2 {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "SIM-114 nothing to find", func(x *row) {
		x.post(list+"/find", `{}`).problem(400, missing, "…").issue(0, "", "required")
		x.post(list+"/find", `{"iccidList":[]}`).problem(400, missing, "…").issue(0, "", "required")
	})
	s.row(t, "SIM-115 too much to find", func(x *row) {
		many := strings.Repeat(`"1",`, 1000) + `"1"`
		x.post(list+"/find", `{"iccidList":[`+many+`]}`).problem(400, missing, "…").issue(0, "", "too_many")
		x.post(list+"/find", `{"iccidList":[`+strings.Repeat(many+",", 100)+`""]}`).problem(400, missing, "…").issue(0, "/iccidList/19999", "too_many")
	})
	s.row(t, "SIM-116 unknown member", func(x *row) {
		x.post(list+"/find", `{"iccid":["8900101000000000019"]}`).problem(400, missing, "…").issue(0, "/iccid", "unknown_member")
	})
	s.row(t, "SIM-117 named twice", func(x *row) {
		x.post(list+"/find", `{"iccidList":["8900101000000000019","8900101000000000019"],"idList":["`+s1+`"]}`).ids(s1)
	})
	s.row(t, "SIM-118 no JSON", func(x *row) {
		for _, body := range []string{"{", "", " ", "{}{}", `{"a":1,"a":2}`, "nul", `"\ud800"`, strings.Repeat("[", 100)} {
			x.post(list+"/find", body, "Content-Type: application/json").problem(400, "Bad Request", "malformed_json")
		}
	})
	s.row(t, "SIM-224 status of the composite", func(x *row) {
		for _, id := range []string{s1, s2, s3, s4, s5, s6, s7, s8} {
			x.get(list+"/"+id).want(200).is("status", x.get(list+"/"+id+"-simCard").get("status"))
		}
	})
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
