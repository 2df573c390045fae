package hubhttp

import "github.com/nave-hub/nave/internal/fault"

// Paths of the contract whose features this version does not have. They answer
// FeatureNotSupported to callers who have proven who they are.
var (
	unbuiltRoutes = []route{
		{"POST", "/devices/query", unbuilt("queries over twins (POST /devices/query)")},
		{"POST", "/jobs/create", unbuilt(exchange)},
		{"GET", "/jobs", unbuilt(exchange)},
		{"GET", "/jobs/{id}", unbuilt(exchange)},
		{"DELETE", "/jobs/{id}", unbuilt(exchange)},
		{"GET", "/jobs/v2/query", unbuilt(jobs)},
		{"GET", "/jobs/v2/{id}", unbuilt(jobs)},
		{"PUT", "/jobs/v2/{id}", unbuilt(jobs)},
		{"POST", "/jobs/v2/{id}/cancel", unbuilt(jobs)},
		{"GET", "/configurations", unbuilt(configurations)},
		{"GET", "/configurations/{id}", unbuilt(configurations)},
		{"PUT", "/configurations/{id}", unbuilt(configurations)},
		{"DELETE", "/configurations/{id}", unbuilt(configurations)},
		{"POST", "/configurations/testQueries", unbuilt(configurations)},
		{"POST", "/devices/{d}/applyConfigurationContent", unbuilt(configurations)},
		{"GET", "/digitaltwins/{d}", unbuilt(digitalTwins)},
		{"PATCH", "/digitaltwins/{d}", unbuilt(digitalTwins)},
		{"GET", "/messages/serviceBound/filenotifications", unbuilt(uploads)},
	}
	unbuiltTwinRoutes = []route{
		{"POST", "/digitaltwins/{d}/commands/{name}", unbuilt(digitalTwins)},
		{"POST", "/digitaltwins/{d}/components/{path}/commands/{name}", unbuilt(digitalTwins)},
	}
	unbuiltUploadRoutes = []route{
		{"POST", "/devices/{d}/files", unbuilt(uploads)},
		{"POST", "/devices/{d}/files/notifications", unbuilt(uploads)},
		{"POST", "/devices/{d}/files/notifications/{id}", unbuilt(uploads)},
	}
	unbuiltScopeRoutes = []route{
		{"GET", "/devices/{d}/modules/{m}/devicesAndModulesInDeviceScope", unbuilt(scopes)},
		{"GET", "/devices/{d}/modules/{m}/deviceAndModuleInDeviceScope", unbuilt(scopes)},
		{"POST", "/devices/{d}/modules/{m}/devicesAndModulesInTargetDeviceScope", unbuilt(scopes)},
		{"POST", "/devices/{d}/modules/{m}/getDeviceAndModuleOnBehalfOf", unbuilt(scopes)},
		{"POST", "/devices/{d}/modules/{m}/getModuleOnBehalfOf", unbuilt(scopes)},
		{"POST", "/devices/{d}/modules/{m}/getModulesOnTargetDevice", unbuilt(scopes)},
		{"POST", "/devices/{d}/modules/{m}/deleteModuleOnBehalfOf", unbuilt(scopes)},
		{"PUT", "/devices/{d}/modules/{m}/putModuleOnBehalfOf", unbuilt(scopes)},
	}
)

// The features.
const (
	exchange       = "import and export of the registry (/jobs)"
	jobs           = "scheduled jobs (/jobs/v2)"
	configurations = "automatic configurations (/configurations, applyConfigurationContent)"
	digitalTwins   = "digital twins (/digitaltwins)"
	uploads        = "file upload (/devices/…/files and its notifications)"
	scopes         = "the device scope of edge hubs"
)

func unbuilt(feature string) func(*call) error {
	return func(*call) error {
		return fault.FeatureNotSupported.New("this version of the hub does not have %s", feature)
	}
}
