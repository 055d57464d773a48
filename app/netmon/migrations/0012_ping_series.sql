-- Results of pings of several packets.
ALTER TABLE probes
    ADD COLUMN loss_percent double precision,
    ADD COLUMN jitter_ms double precision;
