-- What a caller writes is its own, whatever a service lets through: the row that is written is asked, too.

-- From the maker only staff sends, and only staff says to whom: whoever names a customer's number here would read who that is.
CREATE POLICY shipments_from_the_maker ON shipments AS RESTRICTIVE FOR INSERT
    WITH CHECK (caller_is_staff() OR (direction = 'INBOUND' AND recipient_id IS NULL));
CREATE POLICY items_of_claims_seen ON shipment_items AS RESTRICTIVE FOR INSERT
    WITH CHECK (EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = shipment_items.claim_id));
CREATE POLICY ledger_of_the_claims_dealer ON ledger_entries AS RESTRICTIVE FOR INSERT
    WITH CHECK (EXISTS (SELECT 1 FROM claims c
                         WHERE c.claim_id = ledger_entries.claim_id AND c.dealer_id = ledger_entries.dealer_id)
                AND (caller_is_staff() OR kind = 'OPENED'));
