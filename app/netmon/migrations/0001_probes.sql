-- Probes, with their results once they are finished.
CREATE TABLE probes (
    id           uuid PRIMARY KEY,
    target       text NOT NULL,
    url          text NOT NULL,
    status       text NOT NULL CHECK (status IN ('queued', 'succeeded', 'failed')),
    requested_at timestamptz NOT NULL,
    finished_at  timestamptz,
    duration_ms  double precision,
    http_status  integer,
    error        text,
    detail       text,
    trace_id     text,
    CHECK ((status = 'queued') = (finished_at IS NULL))
);

-- For the latest result of a target, after a cache miss.
CREATE INDEX probes_latest ON probes (target, finished_at DESC) WHERE finished_at IS NOT NULL;
