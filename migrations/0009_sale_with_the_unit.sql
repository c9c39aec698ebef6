-- What a decision reads of the current sale stands with the unit: most questions are answered by that one row.
ALTER TABLE units ADD COLUMN sold_on date, ADD COLUMN has_invoice boolean, ADD COLUMN sale_region text, ADD COLUMN contract_number text,
    ADD CONSTRAINT units_sold_or_not CHECK ((sold_on IS NULL) = (has_invoice IS NULL)
        AND (sold_on IS NOT NULL OR sale_region IS NULL AND contract_number IS NULL));
COMMENT ON COLUMN units.sold_on IS 'The current sale''s, as in sale_facts; null where there is none. Kept by a trigger, in the transaction of the sale.';
COMMENT ON COLUMN units.has_invoice IS 'The current sale''s.';
COMMENT ON COLUMN units.sale_region IS 'The current sale''s.';
COMMENT ON COLUMN units.contract_number IS 'The current sale''s.';
-- Room on the page for the row as it is after the sale: no index is touched then.
ALTER TABLE units SET (fillfactor = 85);
UPDATE units u SET sold_on = s.sold_on, has_invoice = s.has_invoice, sale_region = s.region, contract_number = s.contract_number
    FROM sale_facts s WHERE s.serial = u.serial;

-- Whoever writes a sale holds its unit's row, or is ordered with others by sales_one_current: what is read here is the last word.
-- The plan is made once for one sale and for ten thousand: by keys, never by a hash of a whole table.
CREATE FUNCTION mark_sold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    UPDATE units u SET sold_on = s.sold_on, has_invoice = s.has_invoice, sale_region = s.region, contract_number = s.contract_number
        FROM changed c LEFT JOIN sale_facts s ON s.serial = c.serial
        WHERE u.serial = c.serial AND (u.sold_on, u.has_invoice, u.sale_region, u.contract_number)
            IS DISTINCT FROM (s.sold_on, s.has_invoice, s.region, s.contract_number);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_sold_on_insert AFTER INSERT ON sales REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_sold();
CREATE TRIGGER mark_sold_on_update AFTER UPDATE ON sales REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_sold();

-- As before, by the unit's own row.
CREATE OR REPLACE FUNCTION models_in_stock(models text[]) RETURNS SETOF text LANGUAGE plpgsql STABLE
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY SELECT asked.model FROM unnest(models) AS asked (model)
     WHERE EXISTS (SELECT 1 FROM (SELECT u.sold_by_maker, u.has_history, u.sold_on FROM units u WHERE u.model = asked.model
                                   ORDER BY u.ex_factory_on DESC LIMIT 100) newest
                    WHERE newest.sold_by_maker AND NOT newest.has_history AND newest.sold_on IS NULL);
END $$;
