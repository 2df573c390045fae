package fault

// The 404 and 405 codes of the hub: something named does not exist, or cannot be used that way.
// 404102 is the older number of 404103 and never written; 404104 appears in logs only.
var (
	GenericNotFound = define(Code{ID: 404000, Name: "GenericNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The path or address names nothing that this hub serves.",
		Fix: "Compare the path with the API description. Ids must be percent-encoded."})
	DeviceNotFound = define(Code{ID: 404001, Name: "DeviceNotFound", Family: Hub, HTTP: 404, MQTT: Connack5, Retry: Never,
		Why: "No device with this id is registered in the hub, or a service call was aimed at a disabled one. The older texts also list it under 404104.",
		Fix: "Check the spelling, upper and lower case count. 'nave device show ID' tells whether it exists and is enabled."})
	JobNotFound = define(Code{ID: 404002, Name: "JobNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No job with this id exists, or it ended so long ago that its record was removed.",
		Fix: "List the jobs to find the id, and read results before the history runs out."})
	QuotaMetricNotFound = define(Code{ID: 404004, Name: "QuotaMetricNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The name of a quota metric is unknown.",
		Fix: "List the quota metrics and use one of their names."})
	SystemPropertyNotFound = define(Code{ID: 404005, Name: "SystemPropertyNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "A message or template refers to a system property that does not exist or is not set.",
		Fix: "Correct the name of the property, or set it on the message."})
	AmqpAddressNotFound = define(Code{ID: 404006, Name: "AmqpAddressNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "A link was attached to an address that the hub does not serve.",
		Fix: "Correct the address in the attach. The error text repeats the one that was asked for."})
	RoutingEndpointResponseNotFound = define(Code{ID: 404007, Name: "RoutingEndpointResponseNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The target of a route does not exist any more. Seen in logs and endpoint health.",
		Fix: "Create the queue, topic or container again, or correct the endpoint."})
	CertificateNotFound = define(Code{ID: 404008, Name: "CertificateNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No CA certificate with this name is stored in the hub.",
		Fix: "List the certificates and use one of their names, or upload the certificate first."})
	ElasticPoolTenantHubNotFound = define(Code{ID: 404009, Name: "ElasticPoolTenantHubNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The pool does not contain the tenant hub that was asked for.",
		Fix: "Add the hub to the pool or correct its name."})
	ModuleNotFound = define(Code{ID: 404010, Name: "ModuleNotFound", Family: Hub, HTTP: 404, MQTT: Connack5, Retry: Never,
		Why: "The device exists but has no module with this id.",
		Fix: "List the modules of the device with 'nave module list ID' and correct the module id."})
	AzureTableStoreNotFound = define(Code{ID: 404011, Name: "AzureTableStoreNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The archive of registry history is not configured, or its table was dropped.",
		Fix: "Configure the archive, or restore its table."})
	IotHubFailingOver = define(Code{ID: 404012, Name: "IotHubFailingOver", Family: Hub, HTTP: 404, AMQP: "com.microsoft:server-busy", MQTT: Connack3, Retry: Later,
		Why: "The standby is being promoted, and neither node serves requests until that is done.",
		Fix: "Wait and try again. The error answer says how long."})
	FeatureNotSupported = define(Code{ID: 404013, Name: "FeatureNotSupported", Family: Hub, HTTP: 404, AMQP: "amqp:not-implemented", MQTT: Response, Retry: Never,
		Why: "The feature is switched off or not built into this hub.",
		Fix: "Switch the feature on in the hub's settings if it is listed there. Otherwise do without it."})
	DigitalTwinInterfaceNotFound = define(Code{ID: 404014, Name: "DigitalTwinInterfaceNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The component is neither in the device's twin nor in its model.",
		Fix: "Use a component name of the device's model, or let the device announce the right model id."})
	QueryStoreClusterNotFound = define(Code{ID: 404101, Name: "QueryStoreClusterNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Later,
		Why: "The index behind twin queries is being rebuilt and cannot answer yet.",
		Fix: "Wait for the rebuild after a restore or an upgrade to end, or read twins one by one."})
	DeviceNotOnlineOlder = define(Code{ID: 404102, Name: "DeviceNotOnline", Family: Hub, HTTP: 404, MQTT: Response, Retry: Later, variable: "DeviceNotOnlineOlder",
		Why: "The older number for a device that is not online. This hub writes 404103 and knows 404102 only to explain foreign logs.",
		Fix: "Treat it as 404103: wait for the device to connect."})
	DeviceConnectionClosedRemotely = define(Code{ID: 404104, Name: "DeviceConnectionClosedRemotely", Family: Hub, HTTP: 404, AMQP: "amqp:connection:forced", MQTT: Close, Retry: Never,
		Why: "The device's connection broke without an orderly goodbye. Seen in logs only. The older texts also file DeviceNotFound under this number.",
		Fix: "Look for network faults, sleeping devices and keep-alive intervals that are too short. 'nave why ID' prints the last disconnects."})
	ConfigurationNotFound = define(Code{ID: 404301, Name: "ConfigurationNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No configuration or edge deployment with this id exists.",
		Fix: "List the configurations and correct the id."})
	GroupNotFound = define(Code{ID: 404302, Name: "GroupNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No device group with this name exists.",
		Fix: "List the groups, or create the group before using it in a target condition."})
	DigitalTwinModelNotFound = define(Code{ID: 404401, Name: "DigitalTwinModelNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The model is neither stored in the hub nor found in a configured model repository.",
		Fix: "Upload the model or configure a repository that holds it."})
	InterfaceNameModelNotFound = define(Code{ID: 404402, Name: "InterfaceNameModelNotFound", Family: Hub, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The table of short interface names has no entry for the model.",
		Fix: "Store the interface-name model before using its number."})
	GenericMethodNotAllowed = define(Code{ID: 405000, Name: "GenericMethodNotAllowed", Family: Hub, HTTP: 405, MQTT: Close, Retry: Never,
		Why: "The path exists, but not with this HTTP method, or the topic or link cannot be used in this direction.",
		Fix: "Use one of the methods in the Allow header of the answer."})
	OperationNotAllowedInCurrentState = define(Code{ID: 405102, Name: "OperationNotAllowedInCurrentState", Family: Hub, HTTP: 405, MQTT: Response, Retry: Never,
		Why: "The job or hub is in a state that does not allow the operation, such as cancelling a finished job.",
		Fix: "Read the state first. What has ended can only be read, and a hub in transition takes no management writes."})
	ImportDevicesNotSupported = define(Code{ID: 405103, Name: "ImportDevicesNotSupported", Family: Hub, HTTP: 405, MQTT: Response, Retry: Never,
		Why: "Import and export of devices is switched off for this hub.",
		Fix: "Switch the import and export feature on, or create the devices by bulk calls."})
	BulkAddDevicesNotSupported = define(Code{ID: 405104, Name: "BulkAddDevicesNotSupported", Family: Hub, HTTP: 405, MQTT: Response, Retry: Never,
		Why: "Bulk registry calls are switched off for this hub.",
		Fix: "Create the devices one at a time, or switch the bulk feature on."})
)
