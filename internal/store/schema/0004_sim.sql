-- Connectivity. A product belongs to one class: all products that agree in
-- what lists are filtered by most. Blocks count the products of each class in
-- a range of ids, so that totals and far pages need no walk over the products.

CREATE TABLE sim_account (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	platform {text} NOT NULL,
	doc {json} NOT NULL,
	secret {bytes} NOT NULL,
	success BIGINT NOT NULL,
	failure BIGINT NOT NULL,
	failure_class TEXT NOT NULL,
	synced BIGINT NOT NULL,
	failed BIGINT NOT NULL,
	next BIGINT NOT NULL,
	lease BIGINT NOT NULL,
	PRIMARY KEY (hub, name)
);

CREATE TABLE sim_offering (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	account {text} NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, id)
);

CREATE TABLE sim_counter (
	hub {text} NOT NULL,
	name {text} NOT NULL,
	next BIGINT NOT NULL,
	PRIMARY KEY (hub, name)
);

CREATE TABLE sim_class (
	no {serial},
	hub {text} NOT NULL,
	account {text} NOT NULL,
	connectivity TEXT NOT NULL,
	status TEXT NOT NULL,
	linked INTEGER NOT NULL,
	offering TEXT NOT NULL,
	UNIQUE (hub, account, connectivity, status, linked, offering)
);

-- low is the least id that may be in the block; that of the first is ''.
CREATE TABLE sim_block (
	hub {text} NOT NULL,
	low {text} NOT NULL,
	class BIGINT NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (hub, low, class)
) {clustered};

CREATE TABLE sim_product (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	class BIGINT NOT NULL,
	account {text} NOT NULL,
	connectivity TEXT NOT NULL,
	status TEXT NOT NULL,
	reason TEXT NOT NULL,
	iccid {text} NOT NULL,
	imsi {text} NOT NULL,
	msisdn {text} NOT NULL,
	imei {text} NOT NULL,
	eid {text} NOT NULL,
	serial {text} NOT NULL,
	offering {text} NOT NULL,
	offering_name TEXT NOT NULL,
	start BIGINT NOT NULL,
	added BIGINT NOT NULL,
	activated BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	due BIGINT NOT NULL,
	period BIGINT NOT NULL,
	used BIGINT NOT NULL,
	sms BIGINT NOT NULL,
	noted INTEGER NOT NULL,
	device {text} NOT NULL,
	linked BIGINT NOT NULL,
	busy TEXT NOT NULL,
	locked TEXT NOT NULL,
	synced BIGINT NOT NULL,
	run BIGINT NOT NULL,
	PRIMARY KEY (hub, id)
) {clustered};
CREATE INDEX sim_product_class ON sim_product (hub, class, id);
CREATE INDEX sim_product_iccid ON sim_product (hub, iccid, id);
CREATE INDEX sim_product_start ON sim_product (hub, start, id);
CREATE INDEX sim_product_imsi ON sim_product (hub, imsi) WHERE imsi <> '';
CREATE INDEX sim_product_msisdn ON sim_product (hub, msisdn) WHERE msisdn <> '';
CREATE INDEX sim_product_imei ON sim_product (hub, imei) WHERE imei <> '';
CREATE INDEX sim_product_eid ON sim_product (hub, eid) WHERE eid <> '';
CREATE INDEX sim_product_serial ON sim_product (hub, serial) WHERE serial <> '';
CREATE UNIQUE INDEX sim_product_device ON sim_product (hub, device) WHERE device <> '';
CREATE INDEX sim_product_due ON sim_product (hub, due) WHERE due > 0;
CREATE INDEX sim_product_limited ON sim_product (hub, id) WHERE reason = 'data_limit';

-- What a remote platform said last.
CREATE TABLE sim_record (
	hub {text} NOT NULL,
	product {text} NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, product),
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
);

CREATE TABLE sim_property (
	hub {text} NOT NULL,
	product {text} NOT NULL,
	name {text} NOT NULL,
	value {text} NOT NULL,
	PRIMARY KEY (hub, product, name),
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
) {clustered};
CREATE INDEX sim_property_value ON sim_property (hub, name, value, product);

-- hour counts hours since 1970.
CREATE TABLE sim_usage (
	hub {text} NOT NULL,
	product {text} NOT NULL,
	hour BIGINT NOT NULL,
	up BIGINT NOT NULL,
	down BIGINT NOT NULL,
	mo BIGINT NOT NULL,
	mt BIGINT NOT NULL,
	PRIMARY KEY (hub, product, hour),
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
) {clustered};

CREATE TABLE sim_session (
	hub {text} NOT NULL,
	product {text} NOT NULL,
	id {text} NOT NULL,
	device {text} NOT NULL,
	node {text} NOT NULL,
	began BIGINT NOT NULL,
	ended BIGINT NOT NULL,
	seen BIGINT NOT NULL,
	protocol TEXT NOT NULL,
	ip TEXT NOT NULL,
	up BIGINT NOT NULL,
	down BIGINT NOT NULL,
	cause TEXT NOT NULL,
	PRIMARY KEY (hub, product, id),
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
) {clustered};
CREATE INDEX sim_session_open ON sim_session (hub, node, seen) WHERE ended = 0;
CREATE INDEX sim_session_seen ON sim_session (hub, seen) WHERE ended = 0;

CREATE TABLE sim_sms (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	product {text} NOT NULL,
	device {text} NOT NULL,
	payload TEXT NOT NULL,
	encoding TEXT NOT NULL,
	state TEXT NOT NULL,
	submitted BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	final BIGINT NOT NULL,
	PRIMARY KEY (hub, id),
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
);
CREATE INDEX sim_sms_product ON sim_sms (hub, product, submitted, id);
CREATE INDEX sim_sms_open ON sim_sms (hub, expires) WHERE state = 'SUBMITTED';

CREATE TABLE sim_history (
	no {serial},
	hub {text} NOT NULL,
	product {text} NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	was TEXT NOT NULL,
	becomes TEXT NOT NULL,
	actor TEXT NOT NULL,
	actor_id TEXT NOT NULL,
	reason TEXT NOT NULL,
	correlation TEXT NOT NULL,
	FOREIGN KEY (hub, product) REFERENCES sim_product (hub, id) ON DELETE CASCADE
);
CREATE INDEX sim_history_product ON sim_history (hub, product, no);

-- lease is until when the node alone may work on a row.
CREATE TABLE sim_monitor (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	product {text} NOT NULL,
	source {text} NOT NULL,
	account {text} NOT NULL,
	state TEXT NOT NULL,
	phase TEXT NOT NULL,
	ticket TEXT NOT NULL,
	due BIGINT NOT NULL,
	lease BIGINT NOT NULL,
	node TEXT NOT NULL,
	created BIGINT NOT NULL,
	ended BIGINT NOT NULL,
	task {text} NOT NULL,
	position INTEGER NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, id)
);
CREATE INDEX sim_monitor_due ON sim_monitor (hub, due) WHERE state = 'InProgress';
CREATE INDEX sim_monitor_created ON sim_monitor (hub, created, id);
CREATE INDEX sim_monitor_source ON sim_monitor (hub, source, created);
CREATE INDEX sim_monitor_ended ON sim_monitor (hub, ended) WHERE ended > 0;

CREATE TABLE sim_task (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	state TEXT NOT NULL,
	created BIGINT NOT NULL,
	ended BIGINT NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, id)
);
CREATE INDEX sim_task_created ON sim_task (hub, created, id);
CREATE INDEX sim_task_open ON sim_task (hub, id) WHERE state = 'inProgress';

CREATE TABLE sim_task_item (
	hub {text} NOT NULL,
	task {text} NOT NULL,
	position INTEGER NOT NULL,
	given TEXT NOT NULL,
	product {text} NOT NULL,
	account {text} NOT NULL,
	state TEXT NOT NULL,
	code INTEGER NOT NULL,
	status TEXT NOT NULL,
	monitor TEXT NOT NULL,
	problem TEXT NOT NULL,
	due BIGINT NOT NULL,
	lease BIGINT NOT NULL,
	node TEXT NOT NULL,
	sent INTEGER NOT NULL,
	PRIMARY KEY (hub, task, position),
	FOREIGN KEY (hub, task) REFERENCES sim_task (hub, id) ON DELETE CASCADE
);
CREATE INDEX sim_task_item_waiting ON sim_task_item (hub, task, position) WHERE state = 'waiting';
CREATE INDEX sim_task_item_remote ON sim_task_item (hub, task, position) WHERE state = 'remote';
CREATE INDEX sim_task_item_monitor ON sim_task_item (hub, monitor) WHERE monitor <> '';

-- Events that the event log may not have yet.
CREATE TABLE sim_event (
	no {serial},
	hub {text} NOT NULL,
	id {text} NOT NULL,
	at BIGINT NOT NULL,
	device TEXT NOT NULL,
	doc {json} NOT NULL,
	lease BIGINT NOT NULL,
	node TEXT NOT NULL
);
CREATE INDEX sim_event_hub ON sim_event (hub, no);
