-- Watching and history: every event has a number in one feed, and a hash over the event before it.

-- A number is drawn under the claim's lock, so numbers grow with a claim's own; between claims transactions commit out of order, and
-- one that rolls back leaves a gap (store::watch says how the feed is read all the same).
CREATE SEQUENCE claim_event_feed AS bigint;
COMMENT ON SEQUENCE claim_event_feed IS 'The numbers of events over all claims.';
GRANT USAGE ON SEQUENCE claim_event_feed TO warranty_claim, warranty_logistics, warranty_worker;
GRANT SELECT ON SEQUENCE claim_event_feed TO warranty_claim;

-- The hash before, then the hash of each field: hashes are of one length, so that no two events are one text.
CREATE FUNCTION field_hash(field text) RETURNS bytea LANGUAGE sql STABLE
    AS $$ SELECT sha256(convert_to(coalesce(field, ''), 'UTF8')) $$;
CREATE FUNCTION claim_event_hash(before bytea, claim_id uuid, sequence bigint, feed bigint, facts jsonb, state text,
    recorded_at timestamptz, actor text, stage text, remedy text, policy_version text, decided_from jsonb, report jsonb, decision jsonb)
    RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(before || field_hash(claim_id::text) || field_hash(sequence::text) || field_hash(feed::text) || field_hash(facts::text)
        || field_hash(state) || field_hash((extract(epoch FROM recorded_at) * 1000000)::bigint::text) || field_hash(actor)
        || field_hash(stage) || field_hash(remedy) || field_hash(policy_version) || field_hash(decided_from::text)
        || field_hash(report::text) || field_hash(decision::text)) $$;
COMMENT ON FUNCTION field_hash(text) IS 'SHA-256 of a field; of nothing where it is null.';
COMMENT ON FUNCTION claim_event_hash(bytea, uuid, bigint, bigint, jsonb, text, timestamptz, text, text, text, text, jsonb, jsonb, jsonb)
    IS 'SHA-256 over the hash of the event before and an event with its decision. Null where the one before is not there.';

ALTER TABLE claim_events ADD COLUMN feed bigint, ADD COLUMN hash bytea;
COMMENT ON COLUMN claim_events.feed IS 'Its number over all claims; grows with sequence, has gaps.';
COMMENT ON COLUMN claim_events.hash IS 'claim_event_hash over the event before, this one and its decision.';
-- Events from before, numbered in the order of their time, within a claim in their own. The owner is bound by row-level security, too.
ALTER TABLE claim_events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_decisions NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE e record;
BEGIN
    FOR e IN SELECT claim_id, sequence FROM claim_events
              ORDER BY max(recorded_at) OVER (PARTITION BY claim_id ORDER BY sequence), claim_id, sequence LOOP
        UPDATE claim_events n SET feed = nextval('claim_event_feed') WHERE n.claim_id = e.claim_id AND n.sequence = e.sequence;
        UPDATE claim_events n SET hash = claim_event_hash(
                CASE WHEN n.sequence = 1 THEN ''
                     ELSE (SELECT p.hash FROM claim_events p WHERE p.claim_id = n.claim_id AND p.sequence = n.sequence - 1) END,
                n.claim_id, n.sequence, n.feed, n.facts, n.state, n.recorded_at, n.actor,
                d.stage, d.remedy, d.policy_version, d.facts, d.report, d.decision)
          FROM claim_events own LEFT JOIN claim_decisions d USING (claim_id, sequence)
         WHERE n.claim_id = e.claim_id AND n.sequence = e.sequence AND own.claim_id = n.claim_id AND own.sequence = n.sequence;
    END LOOP;
END $$;
ALTER TABLE claim_events FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_decisions FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_events ALTER COLUMN feed SET NOT NULL, ALTER COLUMN feed SET DEFAULT nextval('claim_event_feed'),
    ALTER COLUMN hash SET NOT NULL, ADD CONSTRAINT claim_events_feed_once UNIQUE (feed);

-- Whoever appends an event reads the hash of the one before.
GRANT SELECT (claim_id, sequence, hash) ON claim_events TO warranty_logistics, warranty_worker;
CREATE POLICY events_chained ON claim_events FOR SELECT TO warranty_worker USING (true);

-- What watches reads the feed for all callers, and shows each its own (Actor::may_see).
GRANT SELECT ON claim_events TO warranty_watch;
GRANT SELECT (claim_id, serial, dealer_id, customer_id) ON claims TO warranty_watch;
CREATE POLICY events_watched ON claim_events FOR SELECT TO warranty_watch USING (true);
CREATE POLICY claims_watched ON claims FOR SELECT TO warranty_watch USING (true);
