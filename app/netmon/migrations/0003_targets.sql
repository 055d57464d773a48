-- Monitored targets, and when they are due next.
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

-- The states of targets. In a table of their own, so that results and the scheduler do not lock the same rows.
CREATE TABLE standings (
    target     uuid PRIMARY KEY REFERENCES targets ON DELETE CASCADE,
    state      text NOT NULL CHECK (state IN ('unknown', 'up', 'degraded', 'down')),
    since      timestamptz NOT NULL,
    -- The last results, oldest first: time, duration, verdict (netmon.models.Point).
    recent     jsonb NOT NULL
);

-- Periods in which a target was degraded or down.
CREATE TABLE incidents (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    -- The worst state of the period.
    state      text NOT NULL CHECK (state IN ('degraded', 'down')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    -- The code and the detail of the result that opened it.
    cause      text NOT NULL,
    detail     text
);

CREATE UNIQUE INDEX incidents_open ON incidents (target) WHERE ended_at IS NULL;
CREATE INDEX incidents_newest ON incidents (started_at DESC);
CREATE INDEX incidents_of_target ON incidents (target, started_at DESC);

-- Aggregates of the results of a target over five minutes, which are kept when the results are deleted.
CREATE TABLE rollups (
    target  uuid NOT NULL REFERENCES targets ON DELETE CASCADE,
    -- The start of the five minutes.
    at      timestamptz NOT NULL,
    results integer NOT NULL,
    failed  integer NOT NULL,
    -- The histogram of the durations of successful results (netmon.histograms).
    latency integer[] NOT NULL,
    PRIMARY KEY (target, at)
);

-- The transactional outbox: events are deleted once Kafka has acknowledged them.
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
    -- The warning of a success: slow, certificate.
    ADD COLUMN warning text,
    -- Days until the certificate expires.
    ADD COLUMN certificate_days double precision;

-- For the check whether a target has a queued probe.
CREATE INDEX probes_pending ON probes (target) WHERE status = 'queued';
-- For the deletion of old results.
CREATE INDEX probes_finished ON probes (finished_at) WHERE finished_at IS NOT NULL;
