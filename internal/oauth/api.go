package oauth

import (
	"regexp"
	"slices"
	"strings"
)

// Names of the APIs that applications get permissions for (connectivity-api
// 2.1).
const (
	APIConnectivity = "connection-management-orchestrator"
	APIDevices      = "device-management-orchestrator"
	APIApplications = "application-access-management"
	APIPlatforms    = "platform-management"
)

// APIs are the names of all APIs, in the order of the specification.
var APIs = []string{APIConnectivity, APIDevices, APIApplications, APIPlatforms}

// APIVersion is the only version of every API.
const APIVersion = "v1"

// The two kinds of access.
const (
	ReadOnly  = "ro"
	ReadWrite = "rw"
)

// Permission is what an application may do with one version of one API; Access
// is ReadOnly or ReadWrite, which implies ReadOnly.
type Permission struct{ API, Version, Access string }

// Scopes returns the scopes of permissions, reading before writing, in the
// order of APIs (connectivity-api TK-8).
func Scopes(all []Permission) (scopes []string) {
	for _, api := range APIs {
		if Allows(all, api, ReadOnly) {
			scopes = append(scopes, api+":read")
		}
		if Allows(all, api, ReadWrite) {
			scopes = append(scopes, api+":write")
		}
	}
	return scopes
}

// Allows says whether the permissions hold the access to the API.
func Allows(all []Permission, api, access string) bool {
	return slices.ContainsFunc(all, func(p Permission) bool {
		return p.API == api && (p.Access == access || p.Access == ReadWrite)
	})
}

// roleOf returns the role of a scope: ro%api or rw%api (connectivity-api
// TK-12).
func roleOf(scope string) string {
	if api, ok := strings.CutSuffix(scope, ":write"); ok {
		return ReadWrite + "%" + api
	}
	return ReadOnly + "%" + strings.TrimSuffix(scope, ":read")
}

// Issue is one thing that is wrong with a value; Pointer is the JSON Pointer of
// the member and Code a word of connectivity-api ER-6.
type Issue struct{ Pointer, Code, Text string }

// AppDraft is what an application is made from.
type AppDraft struct {
	Name        string // 1–64 letters, digits, blanks and . _ -
	Contact     string // e-mail address
	Permissions []Permission
}

// maxPermissions bounds the list of an application.
const maxPermissions = 16

var (
	appName    = regexp.MustCompile(`^[\p{L}\p{N} ._-]{1,64}$`)
	appContact = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
)

// Check returns everything that is wrong with the draft, nil when nothing is
// (connectivity-api AP-2, AP-3, AP-8).
func (d *AppDraft) Check() []Issue {
	return slices.Concat(checkName(d.Name), checkContact(d.Contact), checkPermissions(d.Permissions, 1))
}

func checkName(name string) []Issue {
	switch {
	case name == "":
		return []Issue{{"/name", "required", "The application needs a name."}}
	case len([]rune(name)) > 64:
		return []Issue{{"/name", "too_long", "At most 64 characters are allowed."}}
	case !appName.MatchString(name):
		return []Issue{{"/name", "invalid_value", "Letters, digits, blanks and . _ - are allowed."}}
	}
	return nil
}

func checkContact(contact string) []Issue {
	switch {
	case contact == "":
		return []Issue{{"/contactEmail", "required", "The application needs the e-mail address of a contact."}}
	case len(contact) > 254:
		return []Issue{{"/contactEmail", "too_long", "At most 254 characters are allowed."}}
	case !appContact.MatchString(contact):
		return []Issue{{"/contactEmail", "invalid_value", "Must be an e-mail address."}}
	}
	return nil
}

func checkPermissions(all []Permission, least int) (issues []Issue) {
	switch {
	case len(all) < least:
		return []Issue{{"/permissions", "required", "At least one permission is needed."}}
	case len(all) > maxPermissions:
		return []Issue{{"/permissions", "too_many", "At most 16 permissions are allowed."}}
	}
	seen := map[string]bool{}
	for n, p := range all {
		at := "/permissions/" + itoa(n)
		if !slices.Contains(APIs, p.API) {
			issues = append(issues, Issue{at + "/api", "invalid_value", "No such API."})
		} else if seen[p.API] {
			issues = append(issues, Issue{at + "/api", "invalid_value", "The API stands in the list twice."})
		}
		if p.Version != APIVersion {
			issues = append(issues, Issue{at + "/version", "invalid_value", "The version must be v1."})
		}
		if p.Access != ReadOnly && p.Access != ReadWrite {
			issues = append(issues, Issue{at + "/access", "invalid_value", "The access must be ro or rw."})
		}
		seen[p.API] = true
	}
	return issues
}
