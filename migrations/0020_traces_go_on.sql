-- The clock goes on where a request ended, days later: whose trace that is stands beside what it wrote.

ALTER TABLE claim_events ADD COLUMN traceparent text DEFAULT nullif(current_setting('warranty.traceparent', true), '');
COMMENT ON COLUMN claim_events.traceparent IS 'The span that wrote it, as W3C trace context; null where that was not recorded.';
GRANT SELECT (traceparent) ON claim_events TO warranty_worker;
