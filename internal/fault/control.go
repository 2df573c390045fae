package fault

// The registry of the iot/v1 contract (iot-v1 9), complete with 2000, which is no error.
var (
	ControlOK = define(Code{ID: 2000, Name: "ok", Family: Control, HTTP: 200, MQTT: Response, Retry: Never, variable: "ControlOK",
		Why: "The request succeeded. It is listed because the registry of response codes is complete only with it.",
		Fix: "Nothing to do. Drop the item from the send buffer."})
	ControlBadRequest = define(Code{ID: 4000, Name: "bad_request", Family: Control, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The request cannot be parsed: broken or repeated JSON keys, empty body, bad UTF-8 or a wrong method.",
		Fix: "Correct the firmware's encoding. The item must not be sent again unchanged."})
	ControlUnauthorized = define(Code{ID: 4001, Name: "unauthorized", Family: Control, HTTP: 401, MQTT: Connack5, Retry: Refresh,
		Why: "There is no bearer token, or it is malformed, unknown, expired or revoked.",
		Fix: "Get a new token once and repeat the request. If that fails too, pause for 60 seconds or more."})
	ControlPaymentRequired = define(Code{ID: 4002, Name: "payment_required", Family: Control, HTTP: 402, MQTT: Connack5, Retry: Later,
		Why: "The subscription of the control device is not active.",
		Fix: "Activate the subscription. The device stops sending meanwhile and asks again every 15 minutes at most."})
	ControlForbidden = define(Code{ID: 4003, Name: "forbidden", Family: Control, HTTP: 403, MQTT: Connack5, Retry: Never,
		Why: "The token belongs to another device, lacks a scope, or the device or transport is not enabled.",
		Fix: "Request the scope that details.required_scope names, or enable the device or its protocol."})
	ControlNotFound = define(Code{ID: 4004, Name: "not_found", Family: Control, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The device, command, sensor or endpoint does not exist.",
		Fix: "Fetch the catalogue again, and drop the item if its source is gone."})
	ControlConflict = define(Code{ID: 4009, Name: "conflict", Family: Control, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The message_id was already used with a different payload.",
		Fix: "Drop the item and correct how the firmware makes message ids."})
	ControlPayloadTooLarge = define(Code{ID: 4013, Name: "payload_too_large", Family: Control, HTTP: 413, MQTT: Close, Retry: Never,
		Why: "The body exceeds the plan's byte budget, or a batch has too many items.",
		Fix: "Split the batch in two and retry, or choose a plan with a larger budget."})
	ControlUnsupportedMediaType = define(Code{ID: 4015, Name: "unsupported_media_type", Family: Control, HTTP: 415, MQTT: Response, Retry: Never,
		Why: "The body is not JSON in UTF-8, or it is compressed.",
		Fix: "Send Content-Type application/json and no Content-Encoding."})
	ControlValidationFailed = define(Code{ID: 4022, Name: "validation_failed", Family: Control, HTTP: 422, MQTT: Response, Retry: Never,
		Why: "The JSON is well formed, but a field has the wrong type, range or meaning.",
		Fix: "Correct the fields in details.errors, and drop the item that failed."})
	ControlRateLimited = define(Code{ID: 4029, Name: "rate_limited", Family: Control, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "The device sends more often than the cadence of its plan allows.",
		Fix: "Wait as long as Retry-After says, and retry with the same message_id."})
	ControlServiceUnavailable = define(Code{ID: 5003, Name: "service_unavailable", Family: Control, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "A service that the request needs is down, the hub is stopping, or something unexpected failed.",
		Fix: "Retry with growing, random pauses and the same message_id."})
)
