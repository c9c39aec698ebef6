-- Units numbered from seed.first to before seed.end, with what became of them; a number that is there already stays as it is.
-- seed.today and warranty.caller are set with the transaction. Ten units in a row are of one model; the first of them waits
-- as a good unit, the others are sold, 3 % of them repaired; 1 in 200 is replaced by the good unit of its ten.

-- A superuser may leave out the look-ups of foreign keys, which hold by the way the rows are made.
SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles WHERE rolname = current_user AND rolsuper;

CREATE TEMPORARY TABLE seeds ON COMMIT DROP AS
    SELECT i, today, model, left(regexp_replace(model, '[^A-Z0-9]', '', 'g'), 20) || lpad(i::text, 9, '0') AS serial,
           today - 5 - (i * 7919 % 2190)::int AS sold_on, i % 10 <> 0 AS sold, i % 33 = 5 AS repaired, i % 200 = 5 AS replaced,
           CASE WHEN i % 10 <> 3 THEN 'FP' || to_char(today - 5 - (i * 7919 % 2190)::int, 'YYYYMMDD') || lpad(i::text, 9, '0') END AS invoice_number,
           CASE WHEN i % 50 = 0 THEN 'CN-HK' WHEN i % 13 <> 0 THEN (ARRAY['CN-GD', 'CN-SH', 'CN-SC', 'CN-BJ', 'CN-HB'])[1 + i % 5] END AS region,
           CASE WHEN i % 100 = 11 THEN (SELECT min(contract_number) FROM contracts) END AS contract_number
    FROM generate_series(current_setting('seed.first')::bigint, current_setting('seed.end')::bigint - 1) i
    CROSS JOIN (SELECT current_setting('seed.today')::date AS today, array_agg(model ORDER BY model) AS models
                FROM products WHERE product_type <> 'OTHER') known
    CROSS JOIN LATERAL (SELECT models[1 + i / 10 % cardinality(models)] AS model) of_ten;

INSERT INTO units (serial, model, lot, manufactured_on, ex_factory_on, sold_by_maker, refurbished_from, recorded_at, has_history,
                   sold_on, has_invoice, sale_region, contract_number)
    SELECT serial, model, 'L' || to_char(sold_on - 40, 'YYYYMM'), sold_on - 40 - i::int % 200, sold_on - 30 - i::int % 200, true, NULL,
           (sold_on - 30)::timestamp AT TIME ZONE 'Asia/Shanghai', sold AND repaired OR i % 200 IN (0, 5),
           -- The trigger that keeps these is off, too.
           CASE WHEN sold THEN sold_on END, CASE WHEN sold THEN invoice_number IS NOT NULL END, CASE WHEN sold THEN region END,
           CASE WHEN sold THEN contract_number END
    FROM seeds
    ON CONFLICT DO NOTHING;

INSERT INTO sales (serial, version, dealer_id, sold_on, invoice_number, warranty_card_number, region, contract_number, customer_id,
                   recorded_at, recorded_by)
    SELECT serial, 1, dealers[1 + i % cardinality(dealers)], sold_on,
           invoice_number,
           CASE WHEN i % 4 <> 0 THEN 'BX' || lpad(i::text, 9, '0') END,
           region, contract_number,
           CASE WHEN i % 3 = 0 THEN customers[1 + i % cardinality(customers)] END,
           sold_on::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM seeds
    CROSS JOIN (SELECT array_agg(dealer_id ORDER BY dealer_id) AS dealers FROM dealers WHERE status = 'ACTIVE') known
    CROSS JOIN (SELECT array_agg(customer_id) AS customers FROM (SELECT customer_id FROM customers LIMIT 1000) those) buyers
    WHERE sold
    ON CONFLICT DO NOTHING;

SELECT set_config('session_replication_role', 'origin', true) FROM pg_roles WHERE rolname = current_user AND rolsuper;
INSERT INTO repairs (repair_id, serial, completed_on, paid, fault_code, received_on, recorded_at, recorded_by)
    SELECT md5('seed ' || i)::uuid, serial, least(sold_on + 200, today), i % 2 = 1, (ARRAY['NO_POWER', 'NO_LINK', 'NO_IMAGE'])[1 + i % 3],
           least(sold_on + 195, today), least(sold_on + 200, today)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM seeds WHERE sold AND repaired
    ON CONFLICT DO NOTHING;

INSERT INTO replacements (replaced_serial, replacement_serial, replaced_on, recorded_at, recorded_by)
    SELECT old.serial, new.serial, least(old.sold_on + 250, old.today),
           least(old.sold_on + 250, old.today)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM seeds old JOIN seeds new ON new.i = old.i - 5
    WHERE old.replaced AND NOT EXISTS (SELECT FROM replacements r WHERE r.replaced_serial = old.serial)
