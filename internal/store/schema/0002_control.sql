-- iot/v1 and OAuth. Definitions are JSON documents; what changes often has
-- columns of its own.

CREATE TABLE control_device (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	created BIGINT NOT NULL,
	seen BIGINT NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, id)
);

-- Commands and sensors. Numbers are never given twice.
CREATE TABLE control_source (
	no {serial},
	hub {text} NOT NULL,
	device {text} NOT NULL,
	id {text} NOT NULL,
	doc {json} NOT NULL,
	UNIQUE (hub, id),
	FOREIGN KEY (hub, device) REFERENCES control_device (hub, id) ON DELETE CASCADE
);
CREATE INDEX control_source_device ON control_source (hub, device);

-- One row a source: the reported state, and of commands the desired value.
CREATE TABLE control_state (
	source BIGINT NOT NULL PRIMARY KEY REFERENCES control_source (no) ON DELETE CASCADE,
	feed BIGINT NOT NULL,
	value TEXT NOT NULL,
	observed BIGINT NOT NULL,
	received BIGINT NOT NULL,
	desired TEXT NOT NULL,
	sequence BIGINT NOT NULL
);

CREATE TABLE control_desired (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	device {text} NOT NULL,
	command {text} NOT NULL,
	source BIGINT NOT NULL REFERENCES control_source (no) ON DELETE CASCADE,
	value TEXT NOT NULL,
	sequence BIGINT NOT NULL,
	issued BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	status TEXT NOT NULL,
	closed BIGINT NOT NULL,
	feed BIGINT NOT NULL,
	reported TEXT NOT NULL,
	asker TEXT NOT NULL,
	PRIMARY KEY (hub, id)
);
CREATE UNIQUE INDEX control_desired_sequence ON control_desired (source, sequence);
CREATE UNIQUE INDEX control_desired_open ON control_desired (source) WHERE status = 'pending';
CREATE INDEX control_desired_device ON control_desired (hub, device, command) WHERE status = 'pending';
CREATE INDEX control_desired_expires ON control_desired (hub, expires) WHERE status = 'pending' AND expires > 0;

-- The idempotency keys of accepted items. Rows of the two tables belong
-- together; they have no foreign key because sources go before their items,
-- which are removed a few at a time (control_gone).
CREATE TABLE control_key (
	source BIGINT NOT NULL,
	message {text} NOT NULL,
	feed BIGINT NOT NULL,
	digest {bytes} NOT NULL,
	PRIMARY KEY (source, message)
) {clustered};

CREATE TABLE control_feed (
	source BIGINT NOT NULL,
	id BIGINT NOT NULL,
	message TEXT NOT NULL,
	value TEXT NOT NULL,
	observed BIGINT NOT NULL,
	received BIGINT NOT NULL,
	desired TEXT NOT NULL,
	report TEXT NOT NULL,
	sequence BIGINT NOT NULL,
	via TEXT NOT NULL,
	warnings TEXT NOT NULL,
	PRIMARY KEY (source, id)
) {clustered};

CREATE TABLE control_gone (
	hub {text} NOT NULL,
	source BIGINT NOT NULL,
	PRIMARY KEY (hub, source)
);

-- The next free item id of a hub.
CREATE TABLE control_counter (
	hub {text} NOT NULL PRIMARY KEY,
	next BIGINT NOT NULL
);

-- Item ids a node has reserved; those below low are in the event log.
CREATE TABLE control_block (
	hub {text} NOT NULL,
	node {text} NOT NULL,
	low BIGINT NOT NULL,
	high BIGINT NOT NULL,
	PRIMARY KEY (hub, node)
);

CREATE TABLE control_audit (
	id {serial},
	hub {text} NOT NULL,
	device {text} NOT NULL,
	at BIGINT NOT NULL,
	what TEXT NOT NULL,
	detail {json} NOT NULL
);
CREATE INDEX control_audit_device ON control_audit (hub, device, id);

-- MQTT passwords, as hashes. token is the hash of the access token that asked.
CREATE TABLE control_credential (
	hub {text} NOT NULL,
	hash {bytes} NOT NULL,
	device {text} NOT NULL,
	token {bytes} NOT NULL,
	scopes TEXT NOT NULL,
	issued BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (hub, hash),
	FOREIGN KEY (hub, device) REFERENCES control_device (hub, id) ON DELETE CASCADE
);
CREATE INDEX control_credential_device ON control_credential (hub, device);

-- realm says whose clients they are: iot for control devices.
CREATE TABLE oauth_client (
	hub {text} NOT NULL,
	realm {text} NOT NULL,
	id {text} NOT NULL,
	hash {bytes} NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (hub, realm, id)
);

CREATE TABLE oauth_token (
	hub {text} NOT NULL,
	realm {text} NOT NULL,
	hash {bytes} NOT NULL,
	client {text} NOT NULL,
	scope TEXT NOT NULL,
	claims {json} NOT NULL,
	issued BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (hub, realm, hash),
	FOREIGN KEY (hub, realm, client) REFERENCES oauth_client (hub, realm, id) ON DELETE CASCADE
);
CREATE INDEX oauth_token_client ON oauth_token (hub, realm, client);
CREATE INDEX oauth_token_expires ON oauth_token (hub, realm, expires);
