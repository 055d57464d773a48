-- Alerts from Alertmanager: one row for each time that an alert started to fire.
CREATE TABLE alerts (
    fingerprint text NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz,
    status      text NOT NULL CHECK (status IN ('firing', 'resolved')),
    alertname   text NOT NULL,
    severity    text NOT NULL,
    service     text NOT NULL,
    labels      jsonb NOT NULL,
    annotations jsonb NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (fingerprint, starts_at)
);

CREATE INDEX alerts_newest ON alerts (received_at DESC);

-- For the oldest probe without a result.
CREATE INDEX probes_queued ON probes (requested_at) WHERE status = 'queued';
