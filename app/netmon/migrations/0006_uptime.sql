-- The order of the results of a target, whatever the clocks say; and uptime by time.
ALTER TABLE standings
    -- Grows with each stored result and each other change (netmon.standings).
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    -- The last stored result; null after a change by a release without this column.
    ADD COLUMN latest uuid,
    -- How often the standing was reset: the result of a probe that was requested before does not change the state.
    ADD COLUMN generation integer NOT NULL DEFAULT 0,
    -- The open period (netmon.periods), by the clock of the database; null while the target is not observed.
    ADD COLUMN observed_state text CHECK (observed_state IN ('up', 'degraded', 'down')),
    ADD COLUMN observed_from timestamptz,
    -- When the next result is overdue.
    ADD COLUMN overdue_at timestamptz;

-- The closed periods of targets, which do not overlap. Time in no period is unobserved.
CREATE TABLE periods (
    target     uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    state      text NOT NULL CHECK (state IN ('up', 'degraded', 'down', 'maintenance')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL CHECK (ended_at > started_at),
    -- By the end, so that a query of a span that ends now reads no earlier periods.
    PRIMARY KEY (target, ended_at)
);

-- Observation begins now: results of the past are counted in rollups, but how long a state lasted is not known.
UPDATE standings SET observed_state = state, observed_from = now(),
    overdue_at = stored_at + make_interval(secs => interval_seconds + timeout_seconds * (retries + 1) + 15)
FROM targets
WHERE targets.id = standings.target AND enabled AND state <> 'unknown'
    AND stored_at + make_interval(secs => interval_seconds + timeout_seconds * (retries + 1) + 15) > now();

-- A change by the former release, which may write during a deploy or after a rollback: it sets no version. The time that
-- follows a change of the state is unobserved until the next result that this release stores.
CREATE OR REPLACE FUNCTION version_standing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := greatest(OLD.version + 1, (extract(epoch FROM now()) * 1000000)::bigint);
    NEW.latest := NULL;
    IF NEW.state <> OLD.state THEN
        NEW.overdue_at := least(OLD.overdue_at, now());
        IF NEW.state = 'unknown' THEN
            NEW.generation := OLD.generation + 1;
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER standings_versioned BEFORE UPDATE ON standings
    FOR EACH ROW WHEN (NEW.version = OLD.version) EXECUTE FUNCTION version_standing();
