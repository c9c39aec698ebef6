-- Claims whole: how long they stay where, contradicting vouchers, symptoms, quotes and charges, appeals and goodwill.

ALTER TABLE claims DROP CONSTRAINT claims_state_check, ADD CONSTRAINT claims_state_known
    CHECK (state IN ('FILED', 'RESOLVED', 'REJECTED', 'AUTHORIZED', 'SWAPPED', 'IN_TRANSIT', 'RECEIVED', 'INSPECTED', 'QUOTED',
                     'IN_REPAIR', 'READY', 'DISPATCHED', 'CLOSED', 'CANCELLED'));
ALTER TABLE claims
    ADD COLUMN entered_at timestamptz,
    ADD COLUMN due_on date,
    ADD COLUMN targets jsonb,
    ADD COLUMN invoice_on date,
    ADD COLUMN dispute_given_on date,
    ADD COLUMN dispute_registered_on date,
    ADD COLUMN dispute_verdict text CONSTRAINT claims_dispute_verdict_known CHECK (dispute_verdict IN ('SALE_STANDS', 'SALE_CORRECTED')),
    ADD CONSTRAINT claims_dispute_whole CHECK ((dispute_given_on IS NULL) = (dispute_registered_on IS NULL)
        AND (dispute_verdict IS NULL OR dispute_given_on IS NOT NULL)),
    ADD COLUMN symptoms text[] NOT NULL DEFAULT '{}',
    ADD COLUMN quote_id uuid,
    ADD COLUMN charge_fen bigint CHECK (charge_fen >= 0),
    ADD COLUMN charge_vat_fen bigint CHECK (charge_vat_fen BETWEEN 0 AND charge_fen),
    ADD COLUMN paid boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT claims_quoted_with_a_quote CHECK ((quote_id IS NULL) = (charge_fen IS NULL) AND (quote_id IS NULL) = (charge_vat_fen IS NULL)
        AND (state <> 'QUOTED' OR quote_id IS NOT NULL)),
    ADD CONSTRAINT claims_paid_what_is_charged CHECK (NOT paid OR (charge_fen IS NOT NULL AND outcome = 'REPAIRED')),
    ADD COLUMN appeal_reason text CHECK (length(appeal_reason) <= 500),
    ADD COLUMN appeal_outcome text CHECK (appeal_outcome IN ('UPHELD', 'OVERRIDDEN')),
    ADD COLUMN appeal_outcome_reason text CHECK (length(appeal_outcome_reason) <= 500),
    ADD COLUMN goodwill_remedy text CHECK (goodwill_remedy IN ('FREE_REPAIR', 'DIRECT_REPLACEMENT')),
    ADD COLUMN goodwill_cost_fen bigint CHECK (goodwill_cost_fen >= 0),
    ADD CONSTRAINT claims_appeal_decided_whole CHECK ((appeal_outcome IS NULL) = (appeal_outcome_reason IS NULL)
        AND (appeal_outcome IS NULL OR appeal_reason IS NOT NULL)),
    ADD CONSTRAINT claims_goodwill_by_override CHECK ((goodwill_remedy IS NULL) = (goodwill_cost_fen IS NULL)
        AND (goodwill_remedy IS NOT NULL) = (appeal_outcome IS NOT DISTINCT FROM 'OVERRIDDEN'));
-- Claims from before: their state was entered with the last event that led to another one, and the standard targets hold.
-- The owner is bound by row-level security, too.
ALTER TABLE claims NO FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_events NO FORCE ROW LEVEL SECURITY;
UPDATE claims c SET targets = '{"guidance_days": 2, "authorization_days": 30, "inspection_days": 5, "quote_days": 3,
                                "quote_valid_days": 15, "repair_days": 10, "return_days": 3}',
    entered_at = (SELECT e.recorded_at FROM claim_events e
                   WHERE e.claim_id = c.claim_id AND e.state IS DISTINCT FROM
                         (SELECT p.state FROM claim_events p WHERE p.claim_id = e.claim_id AND p.sequence = e.sequence - 1)
                   ORDER BY e.sequence DESC LIMIT 1);
UPDATE claims SET due_on = (entered_at AT TIME ZONE 'Etc/GMT-8')::date + CASE state
    WHEN 'FILED' THEN 2 WHEN 'AUTHORIZED' THEN 30 WHEN 'SWAPPED' THEN 30 WHEN 'RECEIVED' THEN 5 WHEN 'INSPECTED' THEN 3
    WHEN 'IN_REPAIR' THEN 10 WHEN 'READY' THEN 3 END;
ALTER TABLE claims FORCE ROW LEVEL SECURITY;
ALTER TABLE claim_events FORCE ROW LEVEL SECURITY;
ALTER TABLE claims ALTER COLUMN entered_at SET NOT NULL, ALTER COLUMN targets SET NOT NULL;
CREATE INDEX claims_due ON claims (due_on, claim_id) WHERE due_on IS NOT NULL;
COMMENT ON COLUMN claims.entered_at IS 'When it came to its state.';
COMMENT ON COLUMN claims.due_on IS 'The last day of its state that is in time: the day it entered plus the target; null where nothing is waited for.';
COMMENT ON COLUMN claims.targets IS 'How long each state should last, by the policy of the filing (domain::next::Targets).';
COMMENT ON COLUMN claims.invoice_on IS 'The day on the invoice as given (M1).';
COMMENT ON COLUMN claims.dispute_given_on IS 'What the voucher says, where it contradicts the registered sale (M1).';
COMMENT ON COLUMN claims.dispute_registered_on IS 'What the registered sale said then.';
COMMENT ON COLUMN claims.dispute_verdict IS 'How support settled it; null while it is open.';
COMMENT ON COLUMN claims.symptoms IS 'What the customer told support: codes of the fault catalogue.';
COMMENT ON COLUMN claims.quote_id IS 'The quote that is issued or was accepted (P1).';
COMMENT ON COLUMN claims.charge_fen IS 'What that quote asks for, tax included, CNY fen; charged once the repair is completed.';
COMMENT ON COLUMN claims.charge_vat_fen IS 'The tax in it.';
COMMENT ON COLUMN claims.paid IS 'Whether it was paid, whole.';
COMMENT ON COLUMN claims.appeal_reason IS 'Why the applicant appealed against the decision at inspection; null where nobody did. No personal data.';
COMMENT ON COLUMN claims.appeal_outcome IS 'What staff decided; null while it is open.';
COMMENT ON COLUMN claims.appeal_outcome_reason IS 'Why.';
COMMENT ON COLUMN claims.goodwill_remedy IS 'What the maker gives though no clause asks for it.';
COMMENT ON COLUMN claims.goodwill_cost_fen IS 'What that costs the maker, CNY fen.';

ALTER TABLE repairs ADD COLUMN goodwill boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT repairs_goodwill_is_free CHECK (NOT (goodwill AND paid));
COMMENT ON COLUMN repairs.goodwill IS 'Made as goodwill: neither under warranty nor charged, so that it opens no window.';

ALTER TABLE dealers ADD COLUMN credit_terms boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN dealers.credit_terms IS 'Whether a charged repair may leave before it is paid.';
GRANT UPDATE (credit_terms) ON dealers TO warranty_coverage;

CREATE TABLE faults (
    fault_code    text PRIMARY KEY CHECK (fault_code ~ '^[A-Z0-9_]{1,32}$'),
    chinese       text NOT NULL CHECK (length(chinese) BETWEEN 1 AND 100),
    english       text NOT NULL CHECK (length(english) BETWEEN 1 AND 100),
    product_types text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE faults IS 'The fault catalogue: what support asks for on the telephone.';
COMMENT ON COLUMN faults.fault_code IS 'The code that reports, repairs and prices name.';
COMMENT ON COLUMN faults.chinese IS 'In Chinese.';
COMMENT ON COLUMN faults.english IS 'In English.';
COMMENT ON COLUMN faults.product_types IS 'For which types of product; all where empty.';
INSERT INTO faults VALUES
    ('NO_POWER', '不通电', 'Does not power on'),
    ('NO_LINK', '光口无链路', 'No optical link'),
    ('NO_VIDEO', '无图像', 'No picture'),
    ('NO_VOICE', '无话音', 'No voice'),
    ('PACKET_LOSS', '丢包', 'Loses packets'),
    ('PORT_DEAD', '端口损坏', 'A port is dead'),
    ('POE_NO_OUTPUT', '端口无PoE输出', 'A port gives no PoE'),
    ('OVERHEAT', '过热', 'Overheats'),
    ('RESTARTS', '自动重启', 'Restarts by itself'),
    ('FAN_NOISE', '风扇异响', 'The fan is noisy');
UPDATE faults SET product_types = CASE fault_code
    WHEN 'NO_VIDEO' THEN '{VIDEO_OPTICAL_TRANSCEIVER}'::text[]
    WHEN 'NO_VOICE' THEN '{TELEPHONE_OPTICAL_TRANSCEIVER}'
    WHEN 'POE_NO_OUTPUT' THEN '{POE_SWITCH}'
    WHEN 'FAN_NOISE' THEN '{POE_SWITCH}'
    ELSE '{}' END;
GRANT SELECT ON faults TO warranty_coverage, warranty_claim, warranty_logistics;
GRANT INSERT, UPDATE ON faults TO warranty_claim;

-- What the clock does, and what watches: roles of their own beside the services'.
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['warranty_worker', 'warranty_watch'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $$;
