-- What the registration of a device says it has, and the SIM that is linked to
-- it: a nave.Connectivity, NULL for none.
ALTER TABLE identity ADD COLUMN want_iccid TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN want_imei TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN connectivity {json};
