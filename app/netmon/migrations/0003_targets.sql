-- What is probed again and again, and when next.
CREATE TABLE targets (
    id               uuid PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    spec             jsonb NOT NULL,
    interval_seconds integer NOT NULL CHECK (interval_seconds BETWEEN 5 AND 86400),
    timeout_seconds  double precision NOT NULL CHECK (timeout_seconds > 0),
    retries          integer NOT NULL CHECK (retries >= 0),
    slow_ms          double precision,
    failures         integer NOT NULL CHECK (failures BETWEEN 1 AND "window"),
    "window"         integer NOT NULL CHECK ("window" <= 10),
    enabled          boolean NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL
);

CREATE INDEX targets_due ON targets (due_at) WHERE enabled;

-- What the last results of a target say. Apart from it: results and schedule do not wait for each other's row.
CREATE TABLE standings (
    target     uuid PRIMARY KEY REFERENCES targets ON DELETE CASCADE,
    state      text NOT NULL CHECK (state IN ('unknown', 'up', 'degraded', 'down')),
    since      timestamptz NOT NULL,
    -- The last results, oldest first: when, how long, how it went (netmon.models.Point).
    recent     jsonb NOT NULL
);

-- A time during which a target was not up.
CREATE TABLE incidents (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    -- The worst of the time.
    state      text NOT NULL CHECK (state IN ('degraded', 'down')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    -- The code of the result that began it, and what was said of it.
    cause      text NOT NULL,
    detail     text
);

CREATE UNIQUE INDEX incidents_open ON incidents (target) WHERE ended_at IS NULL;
CREATE INDEX incidents_newest ON incidents (started_at DESC);
CREATE INDEX incidents_of_target ON incidents (target, started_at DESC);

-- The results of five minutes of a target: kept when the results themselves are deleted.
CREATE TABLE rollups (
    target  uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    -- When the five minutes begin.
    at      timestamptz NOT NULL,
    results integer NOT NULL,
    failed  integer NOT NULL,
    -- Durations of those that succeeded (netmon.histograms).
    latency integer[] NOT NULL,
    PRIMARY KEY (target, at)
);

-- Events that are committed with what they tell, and deleted once Kafka has them.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text NOT NULL,
    key        text NOT NULL,
    value      text NOT NULL,
    headers    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE probes
    ADD COLUMN kind text NOT NULL DEFAULT 'http',
    ADD COLUMN attempts integer NOT NULL DEFAULT 1,
    -- What is not well although it succeeded: slow, certificate.
    ADD COLUMN warning text,
    -- Until the certificate's end.
    ADD COLUMN certificate_days double precision;

-- Whether a target has a probe under way.
CREATE INDEX probes_pending ON probes (target) WHERE status = 'queued';
-- What is old enough to be deleted.
CREATE INDEX probes_finished ON probes (finished_at) WHERE finished_at IS NOT NULL;
