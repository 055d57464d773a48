-- Maintenance windows of a target, or of all targets with a tag.
CREATE TABLE maintenance_windows (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    target     uuid REFERENCES targets ON DELETE CASCADE,
    tag        text,
    -- One of the two schedules (netmon.maintenance).
    once       jsonb,
    weekly     jsonb,
    -- When the periods of its targets must be chosen again; null if never.
    refresh_at timestamptz,
    -- The end of a window that is in effect once: it is deleted some time later.
    ends_at    timestamptz,
    CHECK (num_nonnulls(target, tag) = 1),
    CHECK (num_nonnulls(once, weekly) = 1)
);

CREATE INDEX maintenance_windows_target ON maintenance_windows (target) WHERE target IS NOT NULL;

-- The period of maintenance of a target, from all of its windows: the current one; otherwise one that starts within
-- minutes or has ended within a day; otherwise the next one. A target is in maintenance from the one until the other
-- time.
ALTER TABLE targets
    ADD COLUMN maintenance_from timestamptz,
    ADD COLUMN maintenance_until timestamptz;
