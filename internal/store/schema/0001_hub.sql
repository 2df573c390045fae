-- Every table of a hub starts with the hub's name. Times are 100 ns ticks since
-- the year 1, 0 for none; flags are 0 or 1.

CREATE TABLE fence (n BIGINT NOT NULL);
INSERT INTO fence VALUES (0);

-- Devices have module '' and parent NULL, modules have parent ''.
CREATE TABLE identity (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	parent {text},
	generation TEXT NOT NULL,
	etag TEXT NOT NULL,
	status TEXT NOT NULL,
	status_reason TEXT NOT NULL,
	status_updated BIGINT NOT NULL,
	created BIGINT NOT NULL,
	auth TEXT NOT NULL,
	key1 TEXT NOT NULL,
	key2 TEXT NOT NULL,
	print1 TEXT NOT NULL,
	print2 TEXT NOT NULL,
	edge SMALLINT NOT NULL,
	scope TEXT NOT NULL,
	parents {json} NOT NULL,
	managed_by TEXT NOT NULL,
	attributes {json},
	PRIMARY KEY (hub, device, module),
	FOREIGN KEY (hub, device, parent) REFERENCES identity (hub, device, module) ON DELETE CASCADE
);

-- One row an identity.
CREATE TABLE presence (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	connected SMALLINT NOT NULL,
	node TEXT NOT NULL,
	changed BIGINT NOT NULL,
	activity BIGINT NOT NULL,
	PRIMARY KEY (hub, device, module),
	FOREIGN KEY (hub, device, module) REFERENCES identity ON DELETE CASCADE
) {clustered};
CREATE INDEX presence_node ON presence (hub, node) WHERE connected = 1;

-- Counts of a hub, changed with the rows they count.
CREATE TABLE tally (
	hub {text} NOT NULL PRIMARY KEY,
	devices BIGINT NOT NULL,
	enabled BIGINT NOT NULL,
	disabled BIGINT NOT NULL,
	modules BIGINT NOT NULL,
	connected BIGINT NOT NULL
);

CREATE TABLE twin (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	model TEXT NOT NULL,
	etag BIGINT NOT NULL,
	tags {json} NOT NULL,
	desired {json} NOT NULL,
	desired_meta {json} NOT NULL,
	desired_version BIGINT NOT NULL,
	reported {json} NOT NULL,
	reported_meta {json} NOT NULL,
	reported_version BIGINT NOT NULL,
	PRIMARY KEY (hub, device, module),
	FOREIGN KEY (hub, device, module) REFERENCES identity ON DELETE CASCADE
);

-- One row an identity: the last sequence number of its command queue, and what
-- waits in it.
CREATE TABLE queue (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	seq BIGINT NOT NULL,
	pending BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	PRIMARY KEY (hub, device, module),
	FOREIGN KEY (hub, device, module) REFERENCES identity ON DELETE CASCADE
) {clustered};

-- lock is '' while Enqueued; lock_until 0 is a lock that does not run out.
CREATE TABLE c2d (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	seq BIGINT NOT NULL,
	enqueued BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	generation TEXT NOT NULL,
	deliveries INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	lock TEXT NOT NULL,
	lock_until BIGINT NOT NULL,
	size INTEGER NOT NULL,
	head {bytes} NOT NULL,
	body {bytes} NOT NULL,
	PRIMARY KEY (hub, device, module, seq),
	FOREIGN KEY (hub, device, module) REFERENCES identity ON DELETE CASCADE
);
CREATE INDEX c2d_expires ON c2d (hub, expires) WHERE expires > 0;
CREATE INDEX c2d_lock ON c2d (hub, lock_until) WHERE lock <> '';

CREATE TABLE feedback (
	id {serial},
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	generation TEXT NOT NULL,
	message TEXT NOT NULL,
	enqueued BIGINT NOT NULL,
	status TEXT NOT NULL,
	description TEXT NOT NULL,
	expires BIGINT NOT NULL,
	lock TEXT NOT NULL,
	lock_until BIGINT NOT NULL,
	tries INTEGER NOT NULL
);
CREATE INDEX feedback_hub ON feedback (hub, id);
CREATE INDEX feedback_device ON feedback (hub, device, module);
CREATE INDEX feedback_lock ON feedback (hub, lock) WHERE lock <> '';

CREATE TABLE session (
	hub {text} NOT NULL,
	device {text} NOT NULL,
	module {text} NOT NULL,
	filters {json} NOT NULL,
	PRIMARY KEY (hub, device, module),
	FOREIGN KEY (hub, device, module) REFERENCES identity ON DELETE CASCADE
) {clustered};

CREATE TABLE policy (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	rights INTEGER NOT NULL,
	key1 TEXT NOT NULL,
	key2 TEXT NOT NULL,
	PRIMARY KEY (hub, name)
);

CREATE TABLE authority (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	pem TEXT NOT NULL,
	verified SMALLINT NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (hub, name)
);

CREATE TABLE consumer_group (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	PRIMARY KEY (hub, name)
);

CREATE TABLE daily (
	hub {text} NOT NULL,
	day {text} NOT NULL,
	units BIGINT NOT NULL,
	PRIMARY KEY (hub, day)
);

CREATE TABLE setting (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (hub, name)
);
