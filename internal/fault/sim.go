package fault

// The codes of the connectivity API (connectivity-api 12.2). The contract has names only; the numbers
// are ours (status times 100 plus a count), for logs, injection and "nave explain", and never sent.
var (
	// Title "Bad Request".
	SIMMalformedJson = define(Code{ID: 40001, Name: "malformed_json", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The body is not JSON in UTF-8, has comments, or is empty where one is needed.",
		Fix: "Send one valid JSON document."})
	SIMMalformedQuery = define(Code{ID: 40002, Name: "malformed_query", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The query string has a bad percent sequence, invalid UTF-8 or a bare semicolon.",
		Fix: "Percent-encode the values of the query."})
	SIMMalformedHeader = define(Code{ID: 40003, Name: "malformed_header", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A header of the request cannot be used, for example because Authorization is repeated.",
		Fix: "Send each header once and in its documented form."})
	SIMUnsupportedContentType = define(Code{ID: 40004, Name: "unsupported_content_type", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The content type of the body is not one that this operation reads.",
		Fix: "Use a type from the Accept-Post or Accept-Patch header of the answer."})
	SIMNotAcceptable = define(Code{ID: 40005, Name: "not_acceptable", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The Accept header excludes every form in which the answer exists.",
		Fix: "Accept application/json."})
	SIMPlatformRequestRejected = define(Code{ID: 40006, Name: "platform_request_rejected", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The SIM platform refused the read request as invalid.",
		Fix: "Read externalErrors for the platform's reason, and correct the request."})

	// Title "Missing or malformed parameter".
	SIMValidationFailed = define(Code{ID: 40020, Name: "validation_failed", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "Parameters or members of the body were understood but failed validation.",
		Fix: "Correct every entry of the errors array. It lists all issues at once."})

	// Title "Invalid Action".
	SIMMethodNotAllowed = define(Code{ID: 40040, Name: "method_not_allowed", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The resource exists but does not offer this HTTP method.",
		Fix: "Use a method of the Allow header."})
	SIMNotABundle = define(Code{ID: 40041, Name: "not_a_bundle", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The operation needs a whole product, and the id names one of its parts.",
		Fix: "Use the product id without the suffix of the part."})
	SIMNotPatchable = define(Code{ID: 40042, Name: "not_patchable", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "This part of a product cannot be changed.",
		Fix: "Aim the PATCH at the SIM card or terminal part."})
	SIMStatusNotSettable = define(Code{ID: 40043, Name: "status_not_settable", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The requested status is informative and cannot be asked for.",
		Fix: "Ask for a status in settableStatus of the product's platform."})
	SIMStatusNotSupported = define(Code{ID: 40044, Name: "status_not_supported", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The product's platform does not know the requested status.",
		Fix: "Look up settableStatus of the platform and choose from it."})
	SIMStatusNotAllowed = define(Code{ID: 40045, Name: "status_not_allowed", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The present status of the SIM does not allow this step.",
		Fix: "Read the status, and take the step that leads from it to the wanted one."})
	SIMChangeInProgress = define(Code{ID: 40046, Name: "change_in_progress", Family: SIM, HTTP: 400, MQTT: Response, Retry: Later,
		Why: "Another status change of this product is still running.",
		Fix: "Follow the monitor in the answer until it is done, then ask again."})
	SIMDataLimitReached = define(Code{ID: 40047, Name: "data_limit_reached", Family: SIM, HTTP: 400, MQTT: Response, Retry: Later,
		Why: "The SIM has used up its data volume, so it cannot be activated now.",
		Fix: "Wait for the next period, or give the product an offering with more volume."})
	SIMCapabilityMissing = define(Code{ID: 40048, Name: "capability_missing", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The product's platform does not offer this function.",
		Fix: "Check the platform's capabilities, and do without the function for its SIMs."})
	SIMNoDeviceLinked = define(Code{ID: 40049, Name: "no_device_linked", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The SIM has no linked device that could receive the message.",
		Fix: "Link a device to the product first."})
	SIMCredentialLimit = define(Code{ID: 40050, Name: "credential_limit", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The application already has 5 credentials.",
		Fix: "Delete a credential before adding another."})
	SIMPropertyLimit = define(Code{ID: 40051, Name: "property_limit", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The product already has 20 custom properties.",
		Fix: "Remove a custom property before adding another."})
	SIMPlatformDisabled = define(Code{ID: 40052, Name: "platform_disabled", Family: SIM, HTTP: 400, MQTT: Response, Retry: Later,
		Why: "The platform account of this product is switched off.",
		Fix: "Switch the platform account on."})
	SIMPlatformActionRejected = define(Code{ID: 40053, Name: "platform_request_rejected", Family: SIM, HTTP: 400, MQTT: Response, Retry: Never, variable: "SIMPlatformActionRejected",
		Why: "The SIM platform refused the status change as invalid.",
		Fix: "Read externalErrors for the platform's reason. The status is unchanged."})

	// Title "Unauthorized".
	SIMTokenMissing = define(Code{ID: 40101, Name: "token_missing", Family: SIM, HTTP: 401, MQTT: Response, Retry: Refresh,
		Why: "The request carries no access token.",
		Fix: "Get a token at the token endpoint and send it as Authorization: Bearer."})
	SIMTokenInvalid = define(Code{ID: 40102, Name: "token_invalid", Family: SIM, HTTP: 401, MQTT: Response, Retry: Refresh,
		Why: "The access token was not issued by this hub or is damaged.",
		Fix: "Get a new token at the token endpoint of this hub."})
	SIMTokenExpired = define(Code{ID: 40103, Name: "token_expired", Family: SIM, HTTP: 401, MQTT: Response, Retry: Refresh,
		Why: "The access token is older than its life time of minutes.",
		Fix: "Get a new token, best shortly before the old one expires."})
	SIMTokenRevoked = define(Code{ID: 40104, Name: "token_revoked", Family: SIM, HTTP: 401, MQTT: Response, Retry: Refresh,
		Why: "The access token, or the credential it came from, was revoked.",
		Fix: "Get a new token with a valid credential of the application."})

	// Title "Forbidden".
	SIMPermissionMissing = define(Code{ID: 40301, Name: "permission_missing", Family: SIM, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "The application lacks the right for this operation.",
		Fix: "Let the tenant's administrator grant the permission that the error text names."})
	SIMTenantForbidden = define(Code{ID: 40302, Name: "tenant_forbidden", Family: SIM, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "The token is not valid for the tenant in the path.",
		Fix: "Correct the tenant in the path, or use an application of that tenant."})
	SIMPlatformForbidden = define(Code{ID: 40303, Name: "platform_forbidden", Family: SIM, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "The SIM platform does not permit the hub's account to do this.",
		Fix: "Extend the rights of the account at the platform."})

	// Title "Not Found".
	SIMEndpointNotFound = define(Code{ID: 40401, Name: "endpoint_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The path is no endpoint of the connectivity API.",
		Fix: "Compare the path with the API description."})
	SIMProductNotFound = define(Code{ID: 40402, Name: "product_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No product with this id exists in the tenant.",
		Fix: "Check the id for typing errors and blanks around it."})
	SIMMonitorNotFound = define(Code{ID: 40403, Name: "monitor_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No monitor with this id exists, or it was removed after its time.",
		Fix: "Read the product itself to see the outcome of the change."})
	SIMTaskNotFound = define(Code{ID: 40404, Name: "task_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No bulk task with this id exists in the tenant.",
		Fix: "List the tasks and correct the id."})
	SIMPlatformNotFound = define(Code{ID: 40405, Name: "platform_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No SIM platform with this reference is configured.",
		Fix: "List the platforms and correct the reference."})
	SIMOfferingNotFound = define(Code{ID: 40406, Name: "offering_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No offering with this id exists.",
		Fix: "List the offerings and correct the id."})
	SIMApplicationNotFound = define(Code{ID: 40407, Name: "application_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No application with this id exists in the tenant.",
		Fix: "List the applications and correct the id."})
	SIMSmsNotFound = define(Code{ID: 40408, Name: "sms_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No short message with this id exists for the product.",
		Fix: "List the messages of the product and correct the id."})
	SIMLinkNotFound = define(Code{ID: 40409, Name: "link_not_found", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The product is linked to no device.",
		Fix: "Create the link first."})
	SIMNoMatch = define(Code{ID: 40410, Name: "no_match", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The product exists, but the filter in the request does not match it.",
		Fix: "Correct the filter, and look for blanks at its end."})
	SIMNoData = define(Code{ID: 40411, Name: "no_data", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The platform has reported no data of this kind for the product.",
		Fix: "Try again after the SIM was online, or check the platform's capabilities."})
	SIMApiDisabled = define(Code{ID: 40412, Name: "api_disabled", Family: SIM, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "Connectivity management is switched off for this hub.",
		Fix: "Switch the connectivity API on in the hub's settings."})

	// Title "Conflict".
	SIMAlreadyLinked = define(Code{ID: 40901, Name: "already_linked", Family: SIM, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The product or the device is linked to another partner.",
		Fix: "Remove the old link, or repeat the request with replace set to true."})
	SIMDuplicate = define(Code{ID: 40902, Name: "duplicate", Family: SIM, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "A SIM of the import has an identifier that is already in use, so none was imported.",
		Fix: "Remove the duplicate from the list and import again."})
	SIMTestFailed = define(Code{ID: 40903, Name: "test_failed", Family: SIM, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The test operation of a patch found another status than it expects, and nothing was changed.",
		Fix: "Read the product again and decide anew."})
	SIMNameTaken = define(Code{ID: 40904, Name: "name_taken", Family: SIM, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "An application with this name exists in the tenant.",
		Fix: "Choose another name."})

	// Title "Content Too Large".
	SIMBodyTooLarge = define(Code{ID: 41301, Name: "body_too_large", Family: SIM, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The body is larger than the connectivity API accepts.",
		Fix: "Split the list over several requests."})

	// Title "Too Many Requests".
	SIMRateLimited = define(Code{ID: 42901, Name: "rate_limited", Family: SIM, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "The client, tenant or application exceeded a rate limit of the connectivity API.",
		Fix: "Wait as long as Retry-After says, join many ids in one request, and keep answers in a cache."})
	SIMPlatformRateLimited = define(Code{ID: 42902, Name: "platform_rate_limited", Family: SIM, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "The SIM platform itself limits the rate of the hub's calls.",
		Fix: "Wait as long as Retry-After says, or use a bulk task, which paces itself."})
	SIMAddressBanned = define(Code{ID: 42903, Name: "address_banned", Family: SIM, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "So many requests of this client address failed that it is banned for a time.",
		Fix: "Correct the client, then wait or let an administrator lift the ban under abuse.enabled."})

	// Title "Request Header Fields Too Large".
	SIMHeaderTooLarge = define(Code{ID: 43101, Name: "header_too_large", Family: SIM, HTTP: 431, MQTT: Response, Retry: Never,
		Why: "The header block is larger than 20 kB.",
		Fix: "Send fewer or shorter headers and cookies."})

	// Title "Internal Server Error".
	SIMInternalError = define(Code{ID: 50001, Name: "internal_error", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "Something unexpected failed inside the connectivity service.",
		Fix: "Retry with pauses, and search the log for the traceId if it persists."})
	SIMPlatformTimeout = define(Code{ID: 50002, Name: "platform_timeout", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The SIM platform did not answer in time. A change that was asked for may still have been made.",
		Fix: "Read the product before repeating a change, or raise timeoutMs of the platform account."})
	SIMPlatformError = define(Code{ID: 50003, Name: "platform_error", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The SIM platform answered with an error of its own.",
		Fix: "Follow the advice in the answer: check the request, check the platform credentials or retry later."})
	SIMPlatformCredentialsInvalid = define(Code{ID: 50004, Name: "platform_credentials_invalid", Family: SIM, HTTP: 500, MQTT: Response, Retry: Later,
		Why: "The SIM platform does not accept the hub's credentials. The caller's own token is good.",
		Fix: "Correct the credentials of the platform account."})
	SIMPlatformMalformedResponse = define(Code{ID: 50005, Name: "platform_malformed_response", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The SIM platform answered with something that is not the expected document.",
		Fix: "Check that baseUrl of the account points at the platform, and read externalErrors."})
	SIMPlatformUnavailable = define(Code{ID: 50006, Name: "platform_unavailable", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The SIM platform cannot be reached, or was left alone for 30 seconds after repeated failures.",
		Fix: "Retry with pauses, and check the platform's address and state."})
	SIMPlatformOverloaded = define(Code{ID: 50007, Name: "platform_overloaded", Family: SIM, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "Too many calls are already waiting for the SIM platform.",
		Fix: "Retry with pauses, or raise requestsPerSecond or maxParallel of the account if the platform allows it."})
)
