-- The phases of an HTTP probe, in milliseconds (netmon.probing.attempt).
ALTER TABLE probes
    ADD COLUMN lookup_ms double precision,
    ADD COLUMN connect_ms double precision,
    ADD COLUMN tls_ms double precision,
    ADD COLUMN first_byte_ms double precision,
    ADD COLUMN transfer_ms double precision;
