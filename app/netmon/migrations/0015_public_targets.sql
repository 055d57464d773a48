-- Whether a target is on the public status page (netmon.public_status).
ALTER TABLE targets ADD COLUMN public boolean NOT NULL DEFAULT false;
CREATE INDEX targets_public ON targets (id) WHERE public;
