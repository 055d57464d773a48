-- What the alert of a target has: the severity while it is down and while it is degraded, and tags.
ALTER TABLE targets
    ADD COLUMN severity text NOT NULL DEFAULT 'critical' CHECK (severity IN ('critical', 'warning', 'none')),
    ADD COLUMN degraded_severity text NOT NULL DEFAULT 'warning'
        CHECK (degraded_severity IN ('critical', 'warning', 'none')),
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}';

ALTER TABLE standings
    -- The time of the last successful result.
    ADD COLUMN succeeded_at timestamptz,
    -- When the last result was stored, by the clock of the database; for a target without results, when it was added,
    -- edited or resumed.
    ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now();

-- For the incidents that ended a moment ago (netmon.incident_metrics).
CREATE INDEX incidents_ended ON incidents (ended_at) WHERE ended_at IS NOT NULL;

-- The incidents that ended with the deletion of their target, for as long as their end is reported.
CREATE TABLE deleted_incidents (
    id         bigint PRIMARY KEY,
    target     uuid NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now()
);
