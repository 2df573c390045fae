package fault

// The 400 codes of the hub: the request itself is wrong. Triggers: hub-semantics 20; conditions:
// service-api 7.3. 400027, 400029 and 400030 have no HTTP form (a broken connection is their only sign);
// their HTTP status is the class of the number and serves injection alone.
var (
	GenericBadRequest = define(Code{ID: 400000, Name: "GenericBadRequest", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The request is broken below the level of its fields, for example a bad percent escape in the path, and no other 400 code describes it.",
		Fix: "Read the error text, repair the request line, headers or frame it names, and send it again."})
	InvalidProtocolVersion = define(Code{ID: 400001, Name: "InvalidProtocolVersion", Family: Hub, HTTP: 400, MQTT: Connack1, Retry: Never,
		Why: "The api-version is missing or has no valid form, or an MQTT client speaks another protocol level than 3.1.1.",
		Fix: "Add a dated version such as api-version=2021-04-12 to the URL, or set the MQTT client to protocol level 4."})
	DeviceInvalidResultCount = define(Code{ID: 400002, Name: "DeviceInvalidResultCount", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A device listing asks for fewer than 1 or more than 1,000 identities.",
		Fix: "Set top (or maxCount) to a value between 1 and 1,000, or page through a query instead."})
	InvalidOperation = define(Code{ID: 400003, Name: "InvalidOperation", Family: Hub, HTTP: 400, AMQP: "amqp:not-allowed", MQTT: Response, Retry: Never,
		Why: "The operation contradicts the thing it is aimed at, such as a cloud-to-device message without an addressee or two registry actions in one bulk entry.",
		Fix: "Check the address and the kind of operation. 'nave device show ID' tells whether the identity exists and how it signs in."})
	ArgumentInvalid = define(Code{ID: 400004, Name: "ArgumentInvalid", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A field or parameter is present but its value is outside what the hub accepts, or the body is not valid JSON.",
		Fix: "Correct the value that the error text names. Limits that come from a setting are quoted with the setting's name."})
	ArgumentNull = define(Code{ID: 400005, Name: "ArgumentNull", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A mandatory parameter, field or body is missing or empty.",
		Fix: "Send the part that the error text names. An empty array counts as missing."})
	IotHubFormatError = define(Code{ID: 400006, Name: "IotHubFormatError", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A value has the right JSON type but not the format of its field, such as a date, an enumeration word or a header.",
		Fix: "Write the value in the format the error text gives."})
	DeviceStorageEntitySerializationError = define(Code{ID: 400007, Name: "DeviceStorageEntitySerializationError", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A stored record of the identity can no longer be read, so the hub's store is damaged.",
		Fix: "Read in the node's log which record it is, and restore the store from a backup."})
	BlobContainerValidationError = define(Code{ID: 400008, Name: "BlobContainerValidationError", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The container of an import or export job cannot be read, written or recognised as a container address.",
		Fix: "Check that the container URL exists and that its SAS grants read, write, list and delete, then create the job again."})
	ImportWarningExistsError = define(Code{ID: 400009, Name: "ImportWarningExistsError", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "An import line was applied, but a part of it was ignored or changed.",
		Fix: "Open importErrors.log in the output container and compare the named line with 'nave device show ID'."})
	InvalidSchemaVersion = define(Code{ID: 400010, Name: "InvalidSchemaVersion", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The schemaVersion of a configuration is not one this hub understands.",
		Fix: "Use schemaVersion 1.0, or update the hub when the document was made for a newer one."})
	DeviceDefinedMultipleTimes = define(Code{ID: 400011, Name: "DeviceDefinedMultipleTimes", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "One bulk call or import names the same identity more than once.",
		Fix: "Remove the repeated entries and send the rest again."})
	DeserializationError = define(Code{ID: 400012, Name: "DeserializationError", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A line of an import file or an entry of a bulk body cannot be decoded.",
		Fix: "Repair the JSON of the line or entry that the error names. An import file holds exactly one JSON object in each line."})
	BulkRegistryOperationFailure = define(Code{ID: 400013, Name: "BulkRegistryOperationFailure", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "At least one entry of a bulk call failed, while the other entries were applied.",
		Fix: "Read the errors array of the answer and repeat only the entries it lists."})
	DefaultStorageEndpointNotConfigured = define(Code{ID: 400014, Name: "DefaultStorageEndpointNotConfigured", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A device asked to upload a file, but the hub has no storage for uploads.",
		Fix: "Configure the hub's upload storage, restart the node and try the upload again."})
	InvalidFileUploadCorrelationId = define(Code{ID: 400015, Name: "InvalidFileUploadCorrelationId", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The notification of a finished upload carries a correlation id that this hub never issued to the device, or already closed.",
		Fix: "Send the correlationId from the answer that opened this upload, once."})
	ExpiredFileUploadCorrelationId = define(Code{ID: 400016, Name: "ExpiredFileUploadCorrelationId", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The upload was reported as finished after its SAS address had expired.",
		Fix: "Start the upload again, or lengthen sasTtlAsIso8601 of the upload storage for slow devices."})
	InvalidStorageEndpoint = define(Code{ID: 400017, Name: "InvalidStorageEndpoint", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The settings of the upload storage cannot be used, for example a malformed connection string.",
		Fix: "Correct the connection string and the container of the upload storage."})
	InvalidMessagingEndpoint = define(Code{ID: 400018, Name: "InvalidMessagingEndpoint", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The settings of a feedback, notification or custom endpoint cannot be used.",
		Fix: "Correct the endpoint's address and credentials, then test the endpoint from the console."})
	InvalidFileUploadCompletionStatus = define(Code{ID: 400019, Name: "InvalidFileUploadCompletionStatus", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The notification of a finished upload has no isSuccess, or a value that is neither true nor false.",
		Fix: "Send isSuccess as a JSON boolean together with a numeric statusCode."})
	InvalidStorageEndpointOrBlob = define(Code{ID: 400020, Name: "InvalidStorageEndpointOrBlob", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The storage refused the hub, or the blob that the device reported as uploaded is not there.",
		Fix: "Check the storage credentials and the container name, and upload the blob before sending the notification."})
	RequestCanceled = define(Code{ID: 400021, Name: "RequestCanceled", Family: Hub, HTTP: 400, AMQP: "amqp:not-allowed", MQTT: Response, Retry: Never,
		Why: "The hub gave the request up before it was done, normally because the node is shutting down.",
		Fix: "Send the request again. A client with several nodes should go to another one."})
	InvalidStorageEndpointProperty = define(Code{ID: 400022, Name: "InvalidStorageEndpointProperty", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A single property of the storage settings is wrong, such as a TTL, a container name or a file format.",
		Fix: "Correct the property that the error text names in the storage settings."})
	EtagDoesNotMatch = define(Code{ID: 400023, Name: "EtagDoesNotMatch", Family: Hub, HTTP: 400, AMQP: "com.microsoft:precondition-failed", MQTT: Response, Retry: Never,
		Why: "Two etags within one request disagree, one in the If-Match header and one in the body.",
		Fix: "Send the etag in one place, or the same value in both."})
	RequestTimedOut = define(Code{ID: 400024, Name: "RequestTimedOut", Family: Hub, HTTP: 400, AMQP: "com.microsoft:timeout", MQTT: Response, Retry: Never,
		Why: "The client did not deliver the body of its request in time.",
		Fix: "Check the client's network and send the whole body at once."})
	UnsupportedOperationOnReplica = define(Code{ID: 400025, Name: "UnsupportedOperationOnReplica", Family: Hub, HTTP: 400, AMQP: "amqp:not-allowed", MQTT: Response, Retry: Never,
		Why: "A write arrived at a standby node, which only reads.",
		Fix: "Send writes to the active node, or promote the standby first."})
	NullMessage = define(Code{ID: 400026, Name: "NullMessage", Family: Hub, HTTP: 400, MQTT: Close, Retry: Never,
		Why: "A message or notification arrived without the part that should hold its content.",
		Fix: "Give the message a body section. Zero bytes in a data section are allowed, no section is not."})
	ConnectionForcefullyClosedOnNewConnection = define(Code{ID: 400027, Name: "ConnectionForcefullyClosedOnNewConnection", Family: Hub, HTTP: 400, AMQP: "amqp:connection:forced", MQTT: Close, Retry: Never,
		Why: "A newer connection of the same identity replaced this one. Never an HTTP answer: MQTT and AMQP clients are disconnected.",
		Fix: "Give every running client its own identity. The node's log names the address of the connection that was replaced."})
	InvalidDeviceScope = define(Code{ID: 400028, Name: "InvalidDeviceScope", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The parent of an edge device is unknown, forms a cycle or lies more than 5 levels deep.",
		Fix: "Name one existing edge device as the parent. 'nave device show ID --output json' prints the scope to use."})
	ConnectionForcefullyClosedOnFaultInjection = define(Code{ID: 400029, Name: "ConnectionForcefullyClosedOnFaultInjection", Family: Hub, HTTP: 400, AMQP: "amqp:connection:forced", MQTT: Close, Retry: Never,
		Why: "A fault-injection order closed the connection. Never an HTTP answer, and only where fault injection is switched on.",
		Fix: "Reconnect as the test expects, or switch fault injection off."})
	ConnectionRejectedOnFaultInjection = define(Code{ID: 400030, Name: "ConnectionRejectedOnFaultInjection", Family: Hub, HTTP: 400, AMQP: "amqp:connection:forced", MQTT: Connack3, Retry: Never,
		Why: "A new connection fell into a time of injected faults and was refused. Never an HTTP answer.",
		Fix: "Wait until the injected fault has run out, or delete its rule with 'nave inject'."})
	InvalidEndpointAuthenticationType = define(Code{ID: 400031, Name: "InvalidEndpointAuthenticationType", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "An endpoint is configured with a kind of authentication that its type does not offer.",
		Fix: "Choose key-based or identity-based authentication as the endpoint's type allows."})
	ManagedIdentityNotEnabled = define(Code{ID: 400032, Name: "ManagedIdentityNotEnabled", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A job or endpoint asks for the hub's own identity, and none is configured.",
		Fix: "Configure a service identity for the hub, or use keyBased authentication."})
	InvalidPolicyKey = define(Code{ID: 400035, Name: "InvalidPolicyKey", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A key regeneration names a kind of key that does not exist.",
		Fix: "Use primaryKey, secondaryKey or both as policyKey."})
	BulkRegenerateDeviceKeyOperationFailure = define(Code{ID: 400036, Name: "BulkRegenerateDeviceKeyOperationFailure", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "At least one device of a bulk key regeneration kept its old key.",
		Fix: "Read the errors of the answer and repeat the regeneration for the devices it lists."})
	InvalidRouteTestInput = define(Code{ID: 400100, Name: "InvalidRouteTestInput", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The message, twin or route given to a route test cannot be evaluated.",
		Fix: "Correct the part of the test input that the error text names."})
	InvalidSourceOnRoute = define(Code{ID: 400101, Name: "InvalidSourceOnRoute", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A route names a source of messages that the hub does not have.",
		Fix: "Use one of the documented sources, such as DeviceMessages or TwinChangeEvents."})
	RoutingNotEnabled = define(Code{ID: 400102, Name: "RoutingNotEnabled", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "Routing was used while it is switched off for this hub.",
		Fix: "Switch routing on in the hub's settings, or read from the built-in endpoint."})
	InvalidContentEncodingOrType = define(Code{ID: 400103, Name: "InvalidContentEncodingOrType", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A route looks into the message body, but the message does not say that it is JSON in UTF-8, UTF-16 or UTF-32.",
		Fix: "Set contentType to application/json and contentEncoding to utf-8 on the device, or route by properties."})
	CannotRegisterModuleToModule = define(Code{ID: 400301, Name: "CannotRegisterModuleToModule", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A module was given as the owner or the parent of another module.",
		Fix: "Register modules below a device and give only edge devices as parents."})
	TenantHubRoutingNotEnabled = define(Code{ID: 400302, Name: "TenantHubRoutingNotEnabled", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The operator of the pool switched routing off for this tenant hub.",
		Fix: "Ask the operator of the pool to allow routing, or use the built-in endpoint."})
	InvalidConfigurationTargetCondition = define(Code{ID: 400401, Name: "InvalidConfigurationTargetCondition", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The target condition of a configuration is not a valid condition over twins.",
		Fix: "Correct the condition at the column given in the error text, and try it first with the configuration test call."})
	InvalidConfigurationContent = define(Code{ID: 400402, Name: "InvalidConfigurationContent", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The content of a configuration is empty, mixes device and module content, or writes outside properties.desired.",
		Fix: "Send either deviceContent, modulesContent or moduleContent, with keys that start with properties.desired."})
	CannotModifyImmutableConfigurationContent = define(Code{ID: 400403, Name: "CannotModifyImmutableConfigurationContent", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "An update tries to change the content of a configuration, which is fixed at creation.",
		Fix: "Create a configuration with a new id and a higher priority, then delete the old one."})
	InvalidConfigurationCustomMetricsQuery = define(Code{ID: 400404, Name: "InvalidConfigurationCustomMetricsQuery", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A custom metric of a configuration is not a valid query, or there are more than 5 of them.",
		Fix: "Correct the query at the column given in the error text, or remove surplus metrics."})
	InvalidPnPInterfaceDefinition = define(Code{ID: 400501, Name: "InvalidPnPInterfaceDefinition", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A model document or an announced model id is not valid DTDL.",
		Fix: "Correct the document or the DTMI as the error text says. A DTMI ends with its version number."})
	InvalidPnPDesiredProperties = define(Code{ID: 400502, Name: "InvalidPnPDesiredProperties", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A desired value contradicts the device's model, and the hub validates strictly.",
		Fix: "Write only writable properties with values of the modelled schema, or relax the setting pnp.validation."})
	InvalidPnPReportedProperties = define(Code{ID: 400503, Name: "InvalidPnPReportedProperties", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The device reported a property that its model lacks or types differently, and the hub validates strictly.",
		Fix: "Correct the firmware or the model, or relax the setting pnp.validation."})
	InvalidPnPWritableReportedProperties = define(Code{ID: 400504, Name: "InvalidPnPWritableReportedProperties", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The device acknowledged a writable property without value, ac and av in valid form.",
		Fix: "Report an object with value, ac between 100 and 599, and av no higher than the desired version."})
	InvalidDigitalTwinJsonPatch = define(Code{ID: 400505, Name: "InvalidDigitalTwinJsonPatch", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The body of a digital twin update is not a JSON Patch.",
		Fix: "Send an array of objects with op, path and, for add and replace, value."})
	InvalidDigitalTwinPayload = define(Code{ID: 400506, Name: "InvalidDigitalTwinPayload", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The payload of a digital twin update or command has the wrong shape.",
		Fix: "Give components as objects with an empty $metadata member, and command payloads as JSON."})
	InvalidDigitalTwinPatch = define(Code{ID: 400507, Name: "InvalidDigitalTwinPatch", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A digital twin patch holds an operation that cannot be applied to this twin.",
		Fix: "Use add, replace and remove only, and remove only what exists."})
	InvalidDigitalTwinPatchPath = define(Code{ID: 400508, Name: "InvalidDigitalTwinPatchPath", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A path of a digital twin patch names neither a property, a component nor a property of a component.",
		Fix: "Use paths of the form /property, /component or /component/property."})
)
