-- The provisioning service. hub is the instance's scope; what a row means is its
-- kind, and doc says the rest. ref and ref2 are '' and at is 0 for none.

CREATE TABLE dps (
	hub {text} NOT NULL,
	kind {text} NOT NULL,
	id {text} NOT NULL,
	ref {text} NOT NULL,
	ref2 {text} NOT NULL,
	at BIGINT NOT NULL,
	doc {json} NOT NULL,
	PRIMARY KEY (hub, kind, id)
) {clustered};
CREATE INDEX dps_ref ON dps (hub, kind, ref, id) WHERE ref <> '';
CREATE INDEX dps_ref2 ON dps (hub, kind, ref2, id) WHERE ref2 <> '';
CREATE INDEX dps_at ON dps (hub, kind, at) WHERE at > 0;

-- How many rows of a kind there are, changed with the rows.
CREATE TABLE dps_tally (
	hub {text} NOT NULL,
	kind {text} NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (hub, kind)
) {clustered};
