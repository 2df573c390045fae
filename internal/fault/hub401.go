package fault

// The 401 and 403 codes of the hub: the caller is not admitted, or a rule or limit forbids the
// operation. 401001 is an HTTP 404, because SDKs look for its name there (service-api 7.2).
var (
	GenericUnauthorized = define(Code{ID: 401000, Name: "GenericUnauthorized", Family: Hub, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "The caller could not be admitted, and no other 401 code describes why.",
		Fix: "Check the credentials in use, and look for the refusal in the node's log by its tracking id."})
	IotHubNotFound = define(Code{ID: 401001, Name: "IotHubNotFound", Family: Hub, HTTP: 404, AMQP: "com.microsoft:iot-hub-not-found-error", MQTT: Connack5, Retry: Never,
		Why: "The host name that the client used belongs to no hub of this server.",
		Fix: "Use a host name that the node serves. 'nave status' lists them."})
	IotHubUnauthorizedAccess = define(Code{ID: 401002, Name: "IotHubUnauthorizedAccess", Family: Hub, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "The signature is wrong, the token has expired, or the policy lacks the right for this operation.",
		Fix: "Compare the key, the resource and the expiry of the token with 'nave device show ID', or use a policy with the right that the error text names."})
	IotHubUnauthorized = define(Code{ID: 401003, Name: "IotHubUnauthorized", Family: Hub, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "A device or module did not prove who it is: token missing or invalid, certificate not matching, or identity unknown or disabled.",
		Fix: "Check that the identity exists and is enabled with 'nave device show ID', then renew its token or certificate and reconnect."})
	ElasticPoolNotFound = define(Code{ID: 401004, Name: "ElasticPoolNotFound", Family: Hub, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "The hub is configured to belong to a pool that does not exist.",
		Fix: "Create the pool or correct its name in the hub's settings."})
	SystemModuleModifyUnauthorizedAccess = define(Code{ID: 401100, Name: "SystemModuleModifyUnauthorizedAccess", Family: Hub, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "A caller tried to create, change or delete $edgeAgent or $edgeHub by hand.",
		Fix: "Change system modules through an edge deployment, or delete the whole edge device."})
	GenericForbidden = define(Code{ID: 403000, Name: "GenericForbidden", Family: Hub, HTTP: 403, MQTT: Connack5, Retry: Never,
		Why: "The hub refuses the caller by rule, for example by its IP filter, or the endpoint is switched off.",
		Fix: "Allow the caller's address in the IP filter, or switch the endpoint on."})
	IotHubSuspended = define(Code{ID: 403001, Name: "IotHubSuspended", Family: Hub, HTTP: 403, AMQP: "com.microsoft:iot-hub-suspended", MQTT: Connack5, Retry: Never,
		Why: "An administrator suspended the hub, so it keeps its data and serves nobody.",
		Fix: "Resume the hub, then let clients reconnect."})
	IotHubQuotaExceeded = define(Code{ID: 403002, Name: "IotHubQuotaExceeded", Family: Hub, HTTP: 403, AMQP: "com.microsoft:quota-exceeded", MQTT: Close, Retry: Later,
		Why: "The hub has used up its messages for this day, or holds as many devices as it may.",
		Fix: "Wait for midnight UTC, or raise the quota or the number of units. The error text names the limit that was hit."})
	JobQuotaExceeded = define(Code{ID: 403003, Name: "JobQuotaExceeded", Family: Hub, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "An import or export job is already running, and the hub runs one at a time.",
		Fix: "Wait for the running job to end or cancel it, then create the new one."})
	DeviceMaximumQueueDepthExceeded = define(Code{ID: 403004, Name: "DeviceMaximumQueueDepthExceeded", Family: Hub, HTTP: 403, AMQP: "amqp:resource-limit-exceeded", MQTT: Close, Retry: Later,
		Why: "The device's cloud-to-device queue is full: too many messages wait to be received and completed.",
		Fix: "Let the device connect and complete its messages, purge the queue, or raise c2d.maxPending."})
	IotHubMaxCbsTokenExceeded = define(Code{ID: 403005, Name: "IotHubMaxCbsTokenExceeded", Family: Hub, HTTP: 403, AMQP: "amqp:resource-limit-exceeded", MQTT: Response, Retry: Never,
		Why: "One AMQP connection put tokens for more identities than it may.",
		Fix: "Spread the identities over more connections."})
	DeviceMaximumActiveFileUploadLimitExceeded = define(Code{ID: 403006, Name: "DeviceMaximumActiveFileUploadLimitExceeded", Family: Hub, HTTP: 403, MQTT: Response, Retry: Later,
		Why: "The device has opened as many uploads as it may without reporting one of them as finished.",
		Fix: "Send the notification for finished uploads, or wait until the open ones expire."})
	DeviceMaximumQueueSizeExceeded = define(Code{ID: 403007, Name: "DeviceMaximumQueueSizeExceeded", Family: Hub, HTTP: 403, AMQP: "amqp:resource-limit-exceeded", MQTT: Close, Retry: Never,
		Why: "The messages that wait for the device add up to more bytes than its queue may hold.",
		Fix: "Send smaller messages, let the device empty its queue, or raise c2d.maxQueueBytes."})
	RoutingEndpointResponseForbidden = define(Code{ID: 403008, Name: "RoutingEndpointResponseForbidden", Family: Hub, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "The target of a route refused the hub's delivery as forbidden. Seen in logs and endpoint health.",
		Fix: "Give the endpoint credentials that may write to the target."})
	InvalidMessageExpiryTime = define(Code{ID: 403009, Name: "InvalidMessageExpiryTime", Family: Hub, HTTP: 403, AMQP: "com.microsoft:argument-error", MQTT: Response, Retry: Never,
		Why: "The expiry of a cloud-to-device message lies in the past or further ahead than messages may live.",
		Fix: "Set an absolute expiry between now and the hub's longest message life time."})
	OperationNotAvailableInCurrentTier = define(Code{ID: 403010, Name: "OperationNotAvailableInCurrentTier", Family: Hub, HTTP: 403, MQTT: Close, Retry: Never,
		Why: "The hub's tier does not include this feature, as basic tiers lack cloud-to-device messages, methods and twins.",
		Fix: "Run the hub with a standard tier, or do without the feature."})
	KeyEncryptionKeyRevoked = define(Code{ID: 403011, Name: "KeyEncryptionKeyRevoked", Family: Hub, HTTP: 403, MQTT: Connack5, Retry: Never,
		Why: "The key that protects the hub's data was withdrawn, so no data can be read.",
		Fix: "Make the key-encryption key available again. The hub comes back by itself within minutes."})
	DeviceDisabled = define(Code{ID: 403012, Name: "DeviceDisabled", Family: Hub, HTTP: 403, MQTT: Connack5, Retry: Never,
		Why: "The identity exists but its status is disabled, or the SIM that is linked to it carries no traffic.",
		Fix: "Enable the identity, put the SIM into service or end the link. 'nave device show ID' prints the reason that was noted, and the SIM."})
	DeviceModelMaxPropertiesExceeded = define(Code{ID: 403100, Name: "DeviceModelMaxPropertiesExceeded", Family: Hub, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "A device model has more than 1,000 properties, counting components and inherited interfaces.",
		Fix: "Split the model or drop properties."})
	DeviceModelMaxIndexablePropertiesExceeded = define(Code{ID: 403101, Name: "DeviceModelMaxIndexablePropertiesExceeded", Family: Hub, HTTP: 403, MQTT: Response, Retry: Never,
		Why: "More than 100 properties of a model are marked for the query index.",
		Fix: "Remove properties from the hub's index settings."})
	DeviceMaximumInflightMethodExceeded = define(Code{ID: 403800, Name: "DeviceMaximumInflightMethodExceeded", Family: Hub, HTTP: 403, MQTT: Response, Retry: Later,
		Why: "As many direct methods as allowed are already waiting for this device's answer.",
		Fix: "Wait for answers before calling again, or shorten the response time-out of the calls."})
)
