package fault

// The hub codes that the published REST table lacks: 404103 and 503003 come from the error reference,
// the others from the name lists that service-api 7.3 gathers. 503003 has no HTTP form.
var (
	EnforceDeviceHISCompliantKey = define(Code{ID: 400033, Name: "EnforceDeviceHISCompliantKey", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The hub demands strong keys, and the device's key is too weak.",
		Fix: "Use generated 64-byte keys, or switch the requirement off."})
	EnforceModuleHISCompliantKey = define(Code{ID: 400034, Name: "EnforceModuleHISCompliantKey", Family: Hub, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The hub demands strong keys, and the module's key is too weak.",
		Fix: "Let the hub generate the module's keys, or switch the requirement off."})
	DeviceNotOnline = define(Code{ID: 404103, Name: "DeviceNotOnline", Family: Hub, HTTP: 404, MQTT: Response, Retry: Later,
		Why: "The device is not connected, or it is connected but does not listen for direct methods.",
		Fix: "Wait for the device or pass connectTimeoutInSeconds. 'nave device show ID' prints when it was last there, and the error text which of the two is missing."})
	GenericServerError = define(Code{ID: 500000, Name: "GenericServerError", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The fallback of the internal errors, for failures that have no number of their own.",
		Fix: "Treat it as 500001: retry with pauses and search the log for the tracking id."})
	JobCancelled = define(Code{ID: 500002, Name: "JobCancelled", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "An import or export job was cancelled before it ended. Seen as the failure reason of the job.",
		Fix: "Create the job again if its result is still needed."})
	InvalidThrottleParameter = define(Code{ID: 500009, Name: "InvalidThrottleParameter", Family: Hub, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "A rate limit was configured with a value that makes no sense.",
		Fix: "Correct hub.throttling.rates. 'nave config show' prints what is in force."})
	PartitionNotFound = define(Code{ID: 503003, Name: "PartitionNotFound", Family: Hub, HTTP: 503, AMQP: "amqp:not-found", MQTT: Response, Retry: Backoff,
		Why: "A reader asked for a partition that does not exist or is not open yet. Never an HTTP answer.",
		Fix: "Read the partition ids from the hub first. They count from 0."})
)

// readings are published names and numbers that the catalogue keeps under another entry: the rows
// without a number, the families written 500xxx and 503xxx, and the names used by only one table.
var readings = map[string]*Code{
	"500xxx":              ServerError,
	"503xxx":              ServiceUnavailable,
	"internal":            ServerError,
	"internalservererror": ServerError,
}
