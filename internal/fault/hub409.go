package fault

// The codes 409 to 415 of the hub: conflicts, conditions, sizes and media types. 409002 has no HTTP
// form; 412002 has one on message and feedback endpoints only; 412003 appears in job results.
var (
	GenericConflict = define(Code{ID: 409000, Name: "GenericConflict", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The operation collides with something that exists, and no other 409 code describes it.",
		Fix: "Read the present state, decide again and repeat the operation if it is still wanted."})
	DeviceAlreadyExists = define(Code{ID: 409001, Name: "DeviceAlreadyExists", Family: Hub, HTTP: 409, AMQP: "com.microsoft:device-already-exists", MQTT: Response, Retry: Never,
		Why: "A device with this id is already registered.",
		Fix: "Choose another id, or update the device by sending its etag or * in If-Match."})
	LinkCreationConflict = define(Code{ID: 409002, Name: "LinkCreationConflict", Family: Hub, HTTP: 409, AMQP: "amqp:link:stolen", MQTT: Close, Retry: Never,
		Why: "A second link or connection of the same identity took over from this one. Never an HTTP answer.",
		Fix: "Keep one receiver for each identity. With epochs, only the highest epoch may read a partition."})
	CallbackSubscriptionConflict = define(Code{ID: 409003, Name: "CallbackSubscriptionConflict", Family: Hub, HTTP: 409, MQTT: Close, Retry: Never,
		Why: "One identity subscribed twice to methods or twin changes at the same time with differing parameters.",
		Fix: "Subscribe once per identity, or use equal parameters."})
	ModelAlreadyExists = define(Code{ID: 409101, Name: "ModelAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The model store already has a document under this id.",
		Fix: "Use the stored model, or raise the version at the end of the DTMI."})
	DeviceLocked = define(Code{ID: 409102, Name: "DeviceLocked", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "An import, a key regeneration or a delete is working on this identity right now.",
		Fix: "Wait for that operation to end and then try again."})
	DeviceJobAlreadyExists = define(Code{ID: 409103, Name: "DeviceJobAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The job already has a step for this device.",
		Fix: "Nothing has to be repeated. Query devices.jobs for the state of the step."})
	JobAlreadyExists = define(Code{ID: 409104, Name: "JobAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "A job with this id was created before.",
		Fix: "Use a new job id, for example a random one, for each job."})
	ModuleAlreadyExistsOnDevice = define(Code{ID: 409301, Name: "ModuleAlreadyExistsOnDevice", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The device already has a module with this id.",
		Fix: "Choose another module id, or update the module by sending its etag or * in If-Match."})
	ConfigurationAlreadyExists = define(Code{ID: 409401, Name: "ConfigurationAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "A configuration or edge deployment with this id exists.",
		Fix: "Choose another id, or update it by sending its etag or * in If-Match."})
	ApplyConfigurationAlreadyInProgressOnDevice = define(Code{ID: 409402, Name: "ApplyConfigurationAlreadyInProgressOnDevice", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "Content is already being applied to this edge device.",
		Fix: "Wait for the first application to end before applying other content."})
	DigitalTwinModelAlreadyExists = define(Code{ID: 409501, Name: "DigitalTwinModelAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "A model with this DTMI is stored with other content, and stored models never change.",
		Fix: "Raise the version in the DTMI and store the model under the new id."})
	DigitalTwinModelExistsWithOtherModelType = define(Code{ID: 409502, Name: "DigitalTwinModelExistsWithOtherModelType", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The DTMI is stored, but as another kind of model element.",
		Fix: "Choose a DTMI that is not in use for another type."})
	InterfaceNameModelAlreadyExists = define(Code{ID: 409503, Name: "InterfaceNameModelAlreadyExists", Family: Hub, HTTP: 409, MQTT: Response, Retry: Never,
		Why: "The interface-name model is already in the table.",
		Fix: "Use the number that the table holds for it."})
	GenericPreconditionFailed = define(Code{ID: 412000, Name: "GenericPreconditionFailed", Family: Hub, HTTP: 412, MQTT: Response, Retry: Refresh,
		Why: "A condition in the request headers is not met, and it is not an etag comparison.",
		Fix: "Read the resource again and repeat the request with conditions that hold."})
	PreconditionFailed = define(Code{ID: 412001, Name: "PreconditionFailed", Family: Hub, HTTP: 412, MQTT: Response, Retry: Refresh,
		Why: "The resource was changed since it was read: its etag is no longer the one in If-Match.",
		Fix: "Read it again, apply the change to the new state and send the new etag."})
	DeviceMessageLockLost = define(Code{ID: 412002, Name: "DeviceMessageLockLost", Family: Hub, HTTP: 412, AMQP: "com.microsoft:message-lock-lost", MQTT: Close, Retry: Refresh,
		Why: "The lock on a received message was lost: it ran out or was released before the message was settled, so the message is queued again. Over HTTP it is seen on message and feedback endpoints only.",
		Fix: "Settle within the lock time, or ask for a longer lock, and expect the message to be delivered again."})
	JobRunPreconditionFailed = define(Code{ID: 412003, Name: "JobRunPreconditionFailed", Family: Hub, HTTP: 412, MQTT: Response, Retry: Refresh,
		Why: "A job's step met a device whose twin has another etag than the job asks for. Seen in job results.",
		Fix: "Use * as etag in updateTwin, or create the job again with the present etag."})
	InflightMessagesInLink = define(Code{ID: 412004, Name: "InflightMessagesInLink", Family: Hub, HTTP: 412, AMQP: "amqp:not-allowed", MQTT: Response, Retry: Refresh,
		Why: "A receiver attached under the name of a live link that still has unsettled messages.",
		Fix: "Settle the messages or detach the old link, or give each link its own name."})
	GenericRequestEntityTooLarge = define(Code{ID: 413000, Name: "GenericRequestEntityTooLarge", Family: Hub, HTTP: 413, MQTT: Close, Retry: Never,
		Why: "The body or frame is larger than the listener takes at all.",
		Fix: "Send less in one request, for example by splitting a bulk call."})
	MessageTooLarge = define(Code{ID: 413001, Name: "MessageTooLarge", Family: Hub, HTTP: 413, MQTT: Close, Retry: Never,
		Why: "A message, method payload or twin section is larger than the hub allows. The error text names the limit.",
		Fix: "Make it smaller, compress it, or upload it as a file and send only the reference."})
	TooManyDevices = define(Code{ID: 413002, Name: "TooManyDevices", Family: Hub, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The registry is full, or one bulk call names more than 100 devices.",
		Fix: "Split the bulk call, or delete identities that are no longer needed."})
	TooManyModulesOnDevice = define(Code{ID: 413003, Name: "TooManyModulesOnDevice", Family: Hub, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The device already has as many modules as one device may have.",
		Fix: "Delete modules that are no longer needed, or spread them over more devices."})
	ConfigurationCountLimitExceeded = define(Code{ID: 413101, Name: "ConfigurationCountLimitExceeded", Family: Hub, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The hub holds as many configurations or edge deployments as it may.",
		Fix: "Delete old ones, or join those with equal content under one condition."})
	DigitalTwinModelCountLimitExceeded = define(Code{ID: 413201, Name: "DigitalTwinModelCountLimitExceeded", Family: Hub, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The hub's model store is full.",
		Fix: "Delete unused models, or serve them from a model repository outside the hub."})
	InterfaceNameCompressionModelCountLimitExceeded = define(Code{ID: 413202, Name: "InterfaceNameCompressionModelCountLimitExceeded", Family: Hub, HTTP: 413, MQTT: Response, Retry: Never,
		Why: "The table of short interface names is full.",
		Fix: "Remove names that no device uses any more."})
	GenericUnsupportedMediaType = define(Code{ID: 415000, Name: "GenericUnsupportedMediaType", Family: Hub, HTTP: 415, AMQP: "amqp:not-implemented", MQTT: Response, Retry: Never,
		Why: "The body has a content type or encoding that this operation does not read.",
		Fix: "Send application/json in UTF-8 without compression."})
	IncompatibleDataType = define(Code{ID: 415101, Name: "IncompatibleDataType", Family: Hub, HTTP: 415, MQTT: Response, Retry: Never,
		Why: "A value cannot be converted to the type in its model, or a model document uses an unsupported context version.",
		Fix: "Send values of the modelled type, or use a DTDL version the hub reads."})
)
