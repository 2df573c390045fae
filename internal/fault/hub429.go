package fault

// The codes from 429 upwards: throttling and everything that is not the caller's fault
// (hub-semantics 2.4 and 20). 499000 appears in logs only.
var (
	GenericTooManyRequests = define(Code{ID: 429000, Name: "GenericTooManyRequests", Family: Hub, HTTP: 429, MQTT: Connack3, Retry: Backoff,
		Why: "The listener sees more requests than it admits, before any hub operation is counted.",
		Fix: "Slow down and retry with growing pauses. Check for clients that reconnect in a loop."})
	ThrottlingException = define(Code{ID: 429001, Name: "ThrottlingException", Family: Hub, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "The operation's rate limit was exceeded for so long that the wait in line would be over 30 seconds.",
		Fix: "Wait as long as Retry-After says, spread the calls, or add units. throttling.enabled switches rate limits off."})
	ThrottleBacklogLimitExceeded = define(Code{ID: 429002, Name: "ThrottleBacklogLimitExceeded", Family: Hub, HTTP: 429, MQTT: Close, Retry: Backoff,
		Why: "The line of operations that wait for their rate limit is full, so this one was refused and the device disconnected.",
		Fix: "Send less often, batch messages or add units, and reconnect with growing, random pauses."})
	ThrottlingBacklogTimeout = define(Code{ID: 429003, Name: "ThrottlingBacklogTimeout", Family: Hub, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "The operation waited in line for its rate limit for more than 60 seconds.",
		Fix: "Retry later, and look for a burst of other operations that share this limit."})
	ThrottlingMaxActiveJobCountExceeded = define(Code{ID: 429004, Name: "ThrottlingMaxActiveJobCountExceeded", Family: Hub, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "As many scheduled jobs are active as the tier allows.",
		Fix: "Wait for a job to end or cancel one. Larger tiers run more jobs at once."})
	DeviceThrottlingLimitExceeded = define(Code{ID: 429005, Name: "DeviceThrottlingLimitExceeded", Family: Hub, HTTP: 429, MQTT: Connack3, Retry: Backoff,
		Why: "This one device exceeded the limit that the operator set for a single identity.",
		Fix: "Correct the device's loop, or raise the per-device limits in the throttling settings."})
	ClientClosedRequest = define(Code{ID: 499000, Name: "ClientClosedRequest", Family: Hub, HTTP: 499, MQTT: Close, Retry: Never,
		Why: "The caller went away before the answer was ready. Seen in logs only.",
		Fix: "Give the client a time-out longer than the operation's own."})
	ServerError = define(Code{ID: 500001, Name: "ServerError", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "Something unexpected failed inside the hub. The cause is in the node's log and never in the answer.",
		Fix: "Retry with pauses, and search the log for the tracking id if it persists."})
	GenericTimeout = define(Code{ID: 500008, Name: "GenericTimeout", Family: Hub, HTTP: 500, AMQP: "com.microsoft:timeout", MQTT: Connack3, Retry: Backoff,
		Why: "A connection could not be set up inside the hub within 30 seconds.",
		Fix: "Retry with pauses, look at the node's load with 'nave status', and for trouble with its store in its log."})
	ModelRepoEndpointError = define(Code{ID: 500301, Name: "ModelRepoEndpointError", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A configured model repository cannot be reached, or its address is malformed.",
		Fix: "Check the repository's address and the node's way out to it."})
	ResolutionError = define(Code{ID: 500302, Name: "ResolutionError", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A model repository answered, but with the wrong document, broken JSON or a missing dependency.",
		Fix: "Repair the document in the repository."})
	UnableToFetchCredentials = define(Code{ID: 500401, Name: "UnableToFetchCredentials", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The hub could not obtain credentials for its own identity.",
		Fix: "Check the service identity in the hub's settings and whether its issuer can be reached."})
	UnableToFetchTenantInfo = define(Code{ID: 500402, Name: "UnableToFetchTenantInfo", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The issuer of the hub's own identity is unknown.",
		Fix: "Correct the issuer in the settings of the service identity."})
	UnableToShareIdentity = define(Code{ID: 500403, Name: "UnableToShareIdentity", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The hub's own identity may not be used for this endpoint.",
		Fix: "Permit the use of the identity for the endpoint, or give the endpoint credentials of its own."})
	UnableToExpandDiscoveryInfo = define(Code{ID: 500501, Name: "UnableToExpandDiscoveryInfo", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A stored discovery document holds a number that the table of interface names does not know.",
		Fix: "Restore the missing interface-name model, or let the device connect again to rewrite the document."})
	UnableToExpandComponentInfo = define(Code{ID: 500502, Name: "UnableToExpandComponentInfo", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The short form of a component cannot be expanded, because its interface number is not in the table.",
		Fix: "Restore the interface-name model with that number, or let the device announce its model again."})
	UnableToCompressComponentInfo = define(Code{ID: 500503, Name: "UnableToCompressComponentInfo", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A component could not be put into its short form, because its DTMI is new and the table is full.",
		Fix: "Free entries in the table of interface names, then let the device announce its model again."})
	UnableToCompressDiscoveryInfo = define(Code{ID: 500504, Name: "UnableToCompressDiscoveryInfo", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A discovery document could not be shortened for storage.",
		Fix: "Free entries in the table of interface names, then repeat the announcement."})
	OrphanDiscoveryDocument = define(Code{ID: 500505, Name: "OrphanDiscoveryDocument", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The nightly check found a discovery document whose device no longer exists.",
		Fix: "Delete the orphan, which is safe, and look in the log for an interrupted device delete."})
	GenericBadGateway = define(Code{ID: 502000, Name: "GenericBadGateway", Family: Hub, HTTP: 502, MQTT: Response, Retry: Backoff,
		Why: "The device, or the edge parent in between, answered with something the hub cannot pass on.",
		Fix: "Correct the device's answer. A method response must be valid JSON."})
	GenericServiceUnavailable = define(Code{ID: 503000, Name: "GenericServiceUnavailable", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "The hub cannot serve right now, and no other 503 code describes why.",
		Fix: "Retry with growing pauses."})
	ServiceUnavailable = define(Code{ID: 503001, Name: "ServiceUnavailable", Family: Hub, HTTP: 503, AMQP: "amqp:link:detach-forced", MQTT: Connack3, Retry: Backoff,
		Why: "The node is starting or stopping, or its store or bus does not respond.",
		Fix: "Retry with growing pauses. If it lasts, 'nave status' tells whether the node answers, and its log what it waits for."})
	IotHubActivationFailed = define(Code{ID: 503004, Name: "IotHubActivationFailed", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "The checks at start failed, so the hub shows its state and serves nothing else.",
		Fix: "Read the reasons in the node's log, remove them and restart the node."})
	ServerBusy = define(Code{ID: 503005, Name: "ServerBusy", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "The process itself is overloaded in memory, disk queue or connections.",
		Fix: "Retry with growing pauses, and give the node more resources or add a node."})
	IotHubRestoring = define(Code{ID: 503006, Name: "IotHubRestoring", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "A snapshot is being restored, and the data is not consistent yet.",
		Fix: "Wait as long as Retry-After says."})
	ReceiveLinkOpensThrottled = define(Code{ID: 503008, Name: "ReceiveLinkOpensThrottled", Family: Hub, HTTP: 503, MQTT: Response, Retry: Backoff,
		Why: "Receivers are opened faster than allowed, for the hub or on one connection. Older texts call it a throttled link or message.",
		Fix: "Keep receivers open instead of attaching for each message, and retry with pauses."})
	ConnectionUnavailable = define(Code{ID: 503101, Name: "ConnectionUnavailable", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "The node that holds the connection cannot be reached from the node that was asked.",
		Fix: "Retry with pauses, and check with 'nave status' on each node, and in its log, that it runs and reaches the bus."})
	DeviceUnavailable = define(Code{ID: 503102, Name: "DeviceUnavailable", Family: Hub, HTTP: 503, MQTT: Connack3, Retry: Backoff,
		Why: "The node that owns the device does not answer the other nodes.",
		Fix: "Retry with pauses. The device moves when it reconnects to a healthy node."})
	ConfigurationNotAvailable = define(Code{ID: 503201, Name: "ConfigurationNotAvailable", Family: Hub, HTTP: 503, MQTT: Response, Retry: Backoff,
		Why: "The worker that applies configurations has not started or is switched off.",
		Fix: "Start the configuration worker, or retry after the node has come up."})
	GroupNotAvailable = define(Code{ID: 503202, Name: "GroupNotAvailable", Family: Hub, HTTP: 503, MQTT: Response, Retry: Backoff,
		Why: "The store of device groups is not ready.",
		Fix: "Retry after the node has come up, and read the node's log if it stays away."})
	HostingServiceNotAvailable = define(Code{ID: 503301, Name: "HostingServiceNotAvailable", Family: Hub, HTTP: 503, MQTT: Response, Retry: Backoff,
		Why: "The external model resolver is down.",
		Fix: "Start the resolver, or store the models in the hub."})
	GenericGatewayTimeout = define(Code{ID: 504000, Name: "GenericGatewayTimeout", Family: Hub, HTTP: 504, MQTT: Response, Retry: Backoff,
		Why: "An operation inside the hub, or of something behind it, did not end in time.",
		Fix: "Retry with pauses, and look in the log for the tracking id to see which step was slow."})
	GatewayTimeout = define(Code{ID: 504101, Name: "GatewayTimeout", Family: Hub, HTTP: 504, MQTT: Response, Retry: Backoff,
		Why: "The device received a direct method or command but did not answer in time. It may have executed it.",
		Fix: "Make methods safe to repeat, raise responseTimeoutInSeconds, and check that the device answers under the same request id."})
)
