-- Applications of the connectivity API (connectivity-api 13). A tenant is the
-- name of a hub in its API; client ids are unique over all tenants.

CREATE TABLE application (
	hub {text} NOT NULL,
	tenant {text} NOT NULL,
	id {text} NOT NULL,
	name {text} NOT NULL,
	contact TEXT NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (hub, id),
	UNIQUE (hub, tenant, name)
);

CREATE TABLE application_permission (
	hub {text} NOT NULL,
	application {text} NOT NULL,
	api {text} NOT NULL,
	version {text} NOT NULL,
	access TEXT NOT NULL,
	PRIMARY KEY (hub, application, api, version),
	FOREIGN KEY (hub, application) REFERENCES application (hub, id) ON DELETE CASCADE
);

-- valid_from grows with every new secret; a token bears the value of its day.
CREATE TABLE application_credential (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	application {text} NOT NULL,
	salt {bytes} NOT NULL,
	hash {bytes} NOT NULL,
	created BIGINT NOT NULL,
	refreshed BIGINT NOT NULL,
	valid_from BIGINT NOT NULL,
	PRIMARY KEY (hub, id),
	FOREIGN KEY (hub, application) REFERENCES application (hub, id) ON DELETE CASCADE
);
CREATE INDEX application_credential_application ON application_credential (hub, application);

-- Keys that access tokens are signed with; the newest signs, all verify until
-- they are removed. sealed is encrypted when the operator has set a secret.
CREATE TABLE token_key (
	hub {text} NOT NULL,
	id {text} NOT NULL,
	sealed {bytes} NOT NULL,
	created BIGINT NOT NULL,
	retired BIGINT NOT NULL,
	PRIMARY KEY (hub, id)
);
