-- Reports: how long claims stay in each state, which units fail, and which dealers send in units without a fault.

ALTER TABLE shipment_items ADD COLUMN depot text CONSTRAINT shipment_items_depot_known REFERENCES stock_locations;
COMMENT ON COLUMN shipment_items.depot IS 'The location that received it; null where none was named.';
GRANT UPDATE (depot) ON shipment_items TO warranty_logistics;

-- A few kilobytes, written along with the events: they come in the order of their time, nearly.
CREATE INDEX claim_events_by_time ON claim_events USING brin (recorded_at) WITH (pages_per_range = 32);

-- What is in stock is what stands in the stock, free to be given; it was guessed from the registry before there was any.
CREATE OR REPLACE FUNCTION models_in_stock(models text[]) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT AS $$
    SELECT model FROM unnest(models) AS asked (model)
     WHERE EXISTS (SELECT 1 FROM stock_units s WHERE s.model = asked.model AND s.condition IN ('NEW', 'GOOD')
                                                 AND (s.held_until IS NULL OR s.held_until <= statement_timestamp())) $$;
COMMENT ON FUNCTION models_in_stock(text[]) IS 'Which of these models have a unit in stock that is good and held for nobody.';

GRANT SELECT ON claim_events TO warranty_logistics;
