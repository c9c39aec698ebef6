-- Counters of calls for the gateway's limits. Nothing is lost with them but a window's count: they are not written ahead.
DO $$
BEGIN
    EXECUTE 'CREATE ROLE warranty_ratelimit NOLOGIN NOSUPERUSER NOBYPASSRLS';
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

CREATE UNLOGGED TABLE rate_counters (
    caller       text        NOT NULL,
    method       text        NOT NULL,
    window_start timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    calls        bigint      NOT NULL,
    CONSTRAINT rate_counters_pk PRIMARY KEY (caller, method, window_start),
    CONSTRAINT rate_counters_window_plausible CHECK (expires_at > window_start),
    CONSTRAINT rate_counters_calls_plausible CHECK (calls > 0)
);
CREATE INDEX rate_counters_by_end ON rate_counters (expires_at);
COMMENT ON TABLE rate_counters IS 'How many calls the gateway let through, of each caller in each window of a limit; written in batches.';
COMMENT ON COLUMN rate_counters.caller IS 'Whose calls: dealer/ID, customer/ID or staff/ID, as the token says.';
COMMENT ON COLUMN rate_counters.method IS 'The method that the limit is of; * where it is of all together.';
COMMENT ON COLUMN rate_counters.window_start IS 'When the window began: a whole second, minute, hour or day of UTC.';
COMMENT ON COLUMN rate_counters.expires_at IS 'When the window ends; deleted after it.';
COMMENT ON COLUMN rate_counters.calls IS 'The calls let through in the window by all processes, as far as they have told.';

GRANT SELECT, INSERT, UPDATE, DELETE ON rate_counters TO warranty_ratelimit;
