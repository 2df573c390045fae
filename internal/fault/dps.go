package fault

// The codes of the provisioning service (dps 5). A plain HTTP status of the published list, such as
// 404, goes out under the six-digit number of the same class.
var (
	DPSGenericBadRequest = define(Code{ID: 400000, Name: "GenericBadRequest", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The provisioning request is malformed in a way that no other 400 code describes.",
		Fix: "Read the error text and repair the request, topic or link address it names."})
	DPSInvalidProtocolVersion = define(Code{ID: 400001, Name: "InvalidProtocolVersion", Family: DPS, HTTP: 400, MQTT: Connack1, Retry: Never,
		Why: "The provisioning request has no api-version, or one of the wrong form.",
		Fix: "Add a dated version such as api-version=2021-06-01."})
	DPSArgumentInvalid = define(Code{ID: 400004, Name: "ArgumentInvalid", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A field of the enrolment, registration or setting has a value that is not allowed.",
		Fix: "Correct the field that the error text names."})
	DPSArgumentNull = define(Code{ID: 400005, Name: "ArgumentNull", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "A mandatory field of the enrolment or registration is missing, for example attestation.",
		Fix: "Add the field that the error text names."})
	DPSDeserializationError = define(Code{ID: 400012, Name: "DeserializationError", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The body sent to the provisioning service cannot be decoded as JSON of the expected shape.",
		Fix: "Repair the JSON at the place the error text gives."})
	DPSInvalidEndorsementKey = define(Code{ID: 400201, Name: "InvalidEndorsementKey", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The endorsement key of the TPM cannot be decoded.",
		Fix: "Copy the key again as base64 of the TPM's public area, without line breaks."})
	DPSInvalidRegistrationId = define(Code{ID: 400202, Name: "InvalidRegistrationId", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The registration id has characters or a length that are not allowed, or body and path name different ids.",
		Fix: "Use up to 128 letters, digits and the characters - . _ : and end with a letter, a digit or a hyphen."})
	DPSInvalidStorageRootKey = define(Code{ID: 400203, Name: "InvalidStorageRootKey", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The storage root key of the TPM cannot be decoded.",
		Fix: "Send the key as base64 of the TPM's public area, or leave it out."})
	DPSInvalidEnrollmentGroupId = define(Code{ID: 400204, Name: "InvalidEnrollmentGroupId", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The id of the enrolment group is not valid, or body and path name different ids.",
		Fix: "Correct the group id and use the same one in both places."})
	DPSTooManyEnrollments = define(Code{ID: 400205, Name: "TooManyEnrollments", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The provisioning service holds as many enrolments or groups as it may, or the group's own registration limit is reached.",
		Fix: "Delete unused enrolments, or raise maxEnrollments, maxGroups or the group record's maxRegistrations."})
	DPSRegistrationIdDefinedMultipleTimes = define(Code{ID: 400206, Name: "RegistrationIdDefinedMultipleTimes", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "One bulk call names the same registration id more than once.",
		Fix: "Remove the repeated entries and send the rest again."})
	DPSCustomAllocationFailed = define(Code{ID: 400207, Name: "CustomAllocationFailed", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The webhook that should choose the hub failed or could not be reached. Reported in the registration state.",
		Fix: "Check the webhook's address and log, then let the device register again."})
	DPSCustomAllocationIotHubNotSpecified = define(Code{ID: 400208, Name: "CustomAllocationIotHubNotSpecified", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "No hub was chosen: the webhook named none, or no linked hub may be used for this enrolment. Reported in the registration state.",
		Fix: "Let the webhook return iotHubHostName, or link a hub and allow it in the enrolment."})
	DPSCustomAllocationUnauthorizedAccess = define(Code{ID: 400209, Name: "CustomAllocationUnauthorizedAccess", Family: DPS, HTTP: 400, MQTT: Response, Retry: Never,
		Why: "The webhook refused the call, or chose a hub that the enrolment does not allow. Reported in the registration state.",
		Fix: "Correct the webhook's credentials, or add the hub to the enrolment's list."})
	DPSIotHubUnauthorizedAccess = define(Code{ID: 401002, Name: "IotHubUnauthorizedAccess", Family: DPS, HTTP: 401, MQTT: Connack5, Retry: Never,
		Why: "The device or caller did not prove its identity to the provisioning service, or its policy lacks the right.",
		Fix: "Check key, resource and expiry of the token or the certificate chain against the enrolment."})
	DPSGenericForbidden = define(Code{ID: 403000, Name: "GenericForbidden", Family: DPS, HTTP: 403, MQTT: Connack5, Retry: Never,
		Why: "The provisioning service refuses the caller by rule, for example by its IP filter, or is suspended.",
		Fix: "Allow the caller's address, or resume the service."})
	DPSGenericNotFound = define(Code{ID: 404000, Name: "GenericNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The ID scope or the path is unknown to this provisioning service.",
		Fix: "Compare the ID scope with the one the service shows at start, and the path with the API description."})
	DPSEnrollmentNotFound = define(Code{ID: 404201, Name: "EnrollmentNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No individual enrolment has this registration id.",
		Fix: "Create the enrolment, or correct the registration id. Upper and lower case are the same here."})
	DPSDeviceRegistrationNotFound = define(Code{ID: 404202, Name: "DeviceRegistrationNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The device has never registered, or its registration was deleted.",
		Fix: "Let the device register first."})
	DPSAsyncOperationNotFound = define(Code{ID: 404203, Name: "AsyncOperationNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The operation id is unknown, too old, or belongs to another device.",
		Fix: "Start a new registration and poll with the operationId from its answer."})
	DPSEnrollmentGroupNotFound = define(Code{ID: 404204, Name: "EnrollmentGroupNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No enrolment group has this id.",
		Fix: "List the groups and correct the id, or create the group."})
	DPSDeviceRecordNotFound = define(Code{ID: 404205, Name: "DeviceRecordNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The provisioning service has no lasting record of this device.",
		Fix: "Let the device register once, or create the record beforehand."})
	DPSGroupRecordNotFound = define(Code{ID: 404206, Name: "GroupRecordNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "There is no accounting record for this enrolment group.",
		Fix: "Use the id of an enrolment group that exists, then read its record again."})
	DPSDeviceGroupNotFound = define(Code{ID: 404207, Name: "DeviceGroupNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No device group of the provisioning service has this id.",
		Fix: "List the device groups and correct the id."})
	DPSProvisioningSettingsNotFound = define(Code{ID: 404208, Name: "ProvisioningSettingsNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No profile of provisioning settings has this id.",
		Fix: "Use the profile named default, or create the missing one."})
	DPSProvisioningRecordNotFound = define(Code{ID: 404209, Name: "ProvisioningRecordNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The log of provisioning operations has no such entry, or it was already pruned.",
		Fix: "Search the records by registration id, and keep records longer if they vanish too early."})
	DPSLinkedHubNotFound = define(Code{ID: 404210, Name: "LinkedHubNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "The hub is not linked to the provisioning service, or was unlinked while an enrolment still points at it.",
		Fix: "Link the hub again, or let the enrolment use another one."})
	DPSCertificateAuthorityNotFound = define(Code{ID: 404211, Name: "CertificateAuthorityNotFound", Family: DPS, HTTP: 404, MQTT: Response, Retry: Never,
		Why: "No certificate authority has this name.",
		Fix: "List the authorities, and correct the name in the request or the credential policy."})
	DPSGenericMethodNotAllowed = define(Code{ID: 405000, Name: "GenericMethodNotAllowed", Family: DPS, HTTP: 405, MQTT: Close, Retry: Never,
		Why: "The path of the provisioning service exists, but not with this method, or an id is missing in it.",
		Fix: "Use a method of the Allow header, and check that the id is part of the path."})
	DPSGenericConflict = define(Code{ID: 409000, Name: "GenericConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "Something of this name already exists in the provisioning service, or is still referred to.",
		Fix: "Read the existing object, and send its etag in If-Match to change it."})
	DPSEnrollmentConflict = define(Code{ID: 409201, Name: "EnrollmentConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "An individual enrolment with this registration id exists.",
		Fix: "Send its etag or * in If-Match to update it, or choose another id."})
	DPSEnrollmentGroupConflict = define(Code{ID: 409202, Name: "EnrollmentGroupConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "An enrolment group with this id exists.",
		Fix: "Send its etag or * in If-Match to update the group, or choose another id."})
	DPSRegistrationStatusConflict = define(Code{ID: 409203, Name: "RegistrationStatusConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "Two callers work on the same registration at once, such as a delete while the device is being assigned.",
		Fix: "Wait for the running operation to end, then repeat the call if it is still wanted."})
	DPSDeviceRecordConflict = define(Code{ID: 409205, Name: "DeviceRecordConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The device record exists, or its registration or device id belongs to another record, or the device is still active.",
		Fix: "Read the record that is in the way, or delete with force=true."})
	DPSGroupRecordConflict = define(Code{ID: 409206, Name: "GroupRecordConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The group record exists, its new limit lies below present use, or its group still exists.",
		Fix: "Raise maxRegistrations to at least the present count, or delete the group first."})
	DPSDeviceGroupConflict = define(Code{ID: 409207, Name: "DeviceGroupConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The device group exists, still has members, or an action is running on it.",
		Fix: "Wait for the action to end, or delete with force=true."})
	DPSProvisioningSettingsConflict = define(Code{ID: 409208, Name: "ProvisioningSettingsConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The settings profile exists, is still referred to, is the default one, or shares a priority with another for the same enrolment.",
		Fix: "Give each profile a priority of its own, and remove references before deleting."})
	DPSProvisioningRecordConflict = define(Code{ID: 409209, Name: "ProvisioningRecordConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The provisioning record exists, is final, or its operation is still running.",
		Fix: "Leave final records as they are, and import under an operation id that is not in use."})
	DPSLinkedHubConflict = define(Code{ID: 409210, Name: "LinkedHubConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The hub is linked already, or enrolments or devices still depend on the link.",
		Fix: "Update the link with its etag, or unlink with force=true and let the devices be assigned anew."})
	DPSCertificateAuthorityConflict = define(Code{ID: 409211, Name: "CertificateAuthorityConflict", Family: DPS, HTTP: 409, AMQP: "com.microsoft:entity-already-exists", MQTT: Response, Retry: Never,
		Why: "The certificate authority exists, is in use, or is being rotated.",
		Fix: "Remove the policies and enrolments that use it, or wait for the rotation to end."})
	DPSPreconditionFailed = define(Code{ID: 412001, Name: "PreconditionFailed", Family: DPS, HTTP: 412, AMQP: "amqp:precondition-failed", MQTT: Response, Retry: Refresh,
		Why: "The enrolment or other object was changed since it was read, so the etag in If-Match is stale.",
		Fix: "Read the object again and repeat the change with the new etag."})
	DPSMessageTooLarge = define(Code{ID: 413001, Name: "MessageTooLarge", Family: DPS, HTTP: 413, MQTT: Close, Retry: Never,
		Why: "The body sent to the provisioning service is larger than it accepts.",
		Fix: "Shorten the payload, the initial twin or the certificates in it."})
	DPSGenericUnsupportedMediaType = define(Code{ID: 415000, Name: "GenericUnsupportedMediaType", Family: DPS, HTTP: 415, AMQP: "amqp:not-implemented", MQTT: Response, Retry: Never,
		Why: "The provisioning service does not read bodies of this media type.",
		Fix: "Send application/json."})
	DPSIncompatibleDataType = define(Code{ID: 415001, Name: "IncompatibleDataType", Family: DPS, HTTP: 415, AMQP: "amqp:not-implemented", MQTT: Response, Retry: Never,
		Why: "The body has a content type other than JSON, or is compressed in a way the provisioning service cannot undo.",
		Fix: "Send uncompressed application/json in UTF-8."})
	DPSThrottlingException = define(Code{ID: 429001, Name: "ThrottlingException", Family: DPS, HTTP: 429, MQTT: Response, Retry: Backoff,
		Why: "Devices or callers ask the provisioning service more often than its rate limit allows, or one device polls too fast.",
		Fix: "Wait as long as retry-after says and add random delay. The limits stand in the provisioning settings."})
	DPSGenericServerError = define(Code{ID: 500000, Name: "GenericServerError", Family: DPS, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "The provisioning service failed without a more exact number.",
		Fix: "Treat it as 500001: retry with pauses and search the log for the tracking id."})
	DPSServerError = define(Code{ID: 500001, Name: "ServerError", Family: DPS, HTTP: 500, MQTT: Response, Retry: Backoff,
		Why: "Something unexpected failed inside the provisioning service.",
		Fix: "Retry with pauses, and search the log for the tracking id if it persists."})
	DPSServiceUnavailable = define(Code{ID: 503001, Name: "ServiceUnavailable", Family: DPS, HTTP: 503, AMQP: "amqp:internal-error", MQTT: Connack3, Retry: Backoff,
		Why: "The provisioning service is starting or stopping, or its store does not respond.",
		Fix: "Retry as retry-after says. The device may go on using its present hub."})
	DPSGenericGatewayTimeout = define(Code{ID: 504000, Name: "GenericGatewayTimeout", Family: DPS, HTTP: 504, MQTT: Response, Retry: Backoff,
		Why: "A linked hub or webhook did not answer the provisioning service in time.",
		Fix: "Retry with pauses, and check that the provisioning service reaches the hub or webhook."})
)
