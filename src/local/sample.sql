-- Sample data for `warranty up`, the same for the same day. sample.today and warranty.caller are set with the transaction.

CREATE TEMPORARY TABLE sample_models (position int, model text, product_type text, discontinued boolean) ON COMMIT DROP;
INSERT INTO sample_models VALUES
    (0, 'AOP-VT-2001',  'VIDEO_OPTICAL_TRANSCEIVER',     false),
    (1, 'AOP-VT-2008',  'VIDEO_OPTICAL_TRANSCEIVER',     false),
    (2, 'AOP-TT-3004',  'TELEPHONE_OPTICAL_TRANSCEIVER', false),
    (3, 'AOP-FT-1100',  'OPTICAL_FIBER_TRANSCEIVER',     true),
    (4, 'AOP-FT-1110',  'OPTICAL_FIBER_TRANSCEIVER',     false),
    (5, 'AOP-FT-1120',  'OPTICAL_FIBER_TRANSCEIVER',     false),
    (6, 'AOP-PS-0804',  'POE_SWITCH',                    false),
    (7, 'AOP-PS-2404',  'POE_SWITCH',                    false),
    (8, 'AOP-SFP-1025', 'OTHER',                         false);
INSERT INTO products SELECT model, product_type, discontinued FROM sample_models;
INSERT INTO product_equivalents VALUES ('AOP-FT-1100', 1, 'AOP-FT-1110'), ('AOP-FT-1100', 2, 'AOP-FT-1120');

INSERT INTO dealers VALUES
    ('D1001', 'Shenzhen Guangyuan Communications', 'ACTIVE', 1),
    ('D1002', 'Shanghai Pudong Network Equipment', 'ACTIVE', 1),
    ('D1003', 'Chengdu Xilian Security',           'ACTIVE', 1),
    ('D1004', 'Hong Kong Harbour Optics',          'ACTIVE', 1),
    ('D1005', 'Wuhan Jiangcheng Systems',          'SUSPENDED', 2);

INSERT INTO customers
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, current_setting('warranty.caller')
    FROM generate_series(1, 200) n;
INSERT INTO people
    SELECT customer_id, 'Sample customer ' || n, '1380000' || lpad(n::text, 4, '0'), n || ' Sample Road, Shenzhen'
    FROM (SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS n FROM customers) numbered;

INSERT INTO contracts VALUES ('HT-2025-001');
INSERT INTO contract_versions
    SELECT 'HT-2025-001', version, '{"repair_months": 36, "territory": "WORLDWIDE"}',
           CASE version WHEN 2 THEN today - 690 END, NULL, CASE version WHEN 2 THEN 'signed by both' END,
           (today - 700 + 10 * (version - 1))::timestamp AT TIME ZONE 'Asia/Shanghai',
           CASE version WHEN 1 THEN (today - 690)::timestamp AT TIME ZONE 'Asia/Shanghai' ELSE 'infinity' END,
           current_setting('warranty.caller')
    FROM generate_series(1, 2) version, (SELECT current_setting('sample.today')::date AS today) day;

-- Prices of paid repairs, before tax.
INSERT INTO vat_rates (valid_from, basis_points, set_at, set_by)
    SELECT today - 2200, 1300, (today - 2200)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM (SELECT current_setting('sample.today')::date AS today) day;
INSERT INTO prices (kind, product_type, code, valid_from, amount_fen, set_at, set_by)
    SELECT kind, product_type, code, today - 2200, amount_fen, (today - 2200)::timestamp AT TIME ZONE 'Asia/Shanghai',
           current_setting('warranty.caller')
    FROM (VALUES ('INSPECTION', '', '', 5000),
                 ('LABOUR', 'VIDEO_OPTICAL_TRANSCEIVER', '', 18000), ('LABOUR', 'VIDEO_OPTICAL_TRANSCEIVER', 'NO_VIDEO', 22000),
                 ('LABOUR', 'TELEPHONE_OPTICAL_TRANSCEIVER', '', 15000), ('LABOUR', 'OPTICAL_FIBER_TRANSCEIVER', '', 12000),
                 ('LABOUR', 'POE_SWITCH', '', 20000), ('LABOUR', 'POE_SWITCH', 'NO_POWER', 16000),
                 ('PART', '', 'PSU_48V', 9800), ('PART', '', 'OPTICAL_MODULE', 13500), ('PART', '', 'FAN', 2600)
         ) price (kind, product_type, code, amount_fen),
         (SELECT current_setting('sample.today')::date AS today) day;

-- Units 1 to 3600 are sold on some day of the last six years, today included; 3601 to 4000 wait as good new units.
CREATE TEMPORARY TABLE sample_units ON COMMIT DROP AS
    SELECT i, today, product_type,
           replace(replace(model, 'AOP-', ''), '-', '') || lpad(i::text, 6, '0') AS serial, model,
           CASE WHEN i <= 3600 THEN today - (i * 7) % 2200 END AS sold_on,
           CASE WHEN i % 401 = 0 THEN date '2009-11-15'
                WHEN i <= 3600 THEN today - (i * 7) % 2200 - 40 - i % 200
                ELSE today - 420 + i % 60 END AS manufactured_on
    FROM generate_series(1, 4000) i
    JOIN sample_models ON position = i % 9
    CROSS JOIN (SELECT current_setting('sample.today')::date AS today) day;

INSERT INTO units
    SELECT serial, model, 'L' || to_char(manufactured_on, 'YYYYMM'), manufactured_on, manufactured_on + 10, i % 97 <> 0, NULL
    FROM sample_units;

INSERT INTO sales
    SELECT serial, 1,
           'D100' || CASE WHEN i % 50 = 0 THEN 4 WHEN i % 20 = 7 AND today - sold_on > 400 THEN 5 ELSE 1 + i % 3 END,
           sold_on,
           CASE WHEN i % 10 <> 0 THEN 'FP' || to_char(sold_on, 'YYYYMMDD') || lpad(i::text, 5, '0') END,
           CASE WHEN i % 4 <> 0 THEN 'BX' || lpad(i::text, 8, '0') END,
           CASE WHEN i % 50 = 0 THEN 'CN-HK' WHEN i % 13 <> 0 THEN (ARRAY['CN-GD', 'CN-SH', 'CN-SC', 'CN-BJ', 'CN-HB'])[1 + i % 5] END,
           CASE WHEN i % 100 = 11 AND sold_on > today - 690 THEN 'HT-2025-001' END,
           CASE WHEN i % 3 = 0 THEN ('00000000-0000-4000-8000-' || lpad((1 + i % 200)::text, 12, '0'))::uuid END,
           sold_on::timestamp AT TIME ZONE 'Asia/Shanghai', 'infinity', current_setting('warranty.caller')
    FROM sample_units WHERE sold_on IS NOT NULL;

INSERT INTO repairs
    SELECT md5('repair ' || i)::uuid, serial, sold_on + 200, i % 80 = 5, (ARRAY['NO_POWER', 'NO_LINK', 'NO_IMAGE'])[1 + i % 3],
           NULL, (sold_on + 201)::timestamp AT TIME ZONE 'Asia/Shanghai', current_setting('warranty.caller')
    FROM sample_units WHERE i % 40 = 5 AND sold_on + 201 <= today AND product_type <> 'OTHER';

-- One chain of two replacements, all of one model: a unit sold 301 days ago, then two of the good units.
INSERT INTO replacements (replaced_serial, replacement_serial, replaced_on, recorded_at, recorded_by)
    SELECT old.serial, new.serial, old.today - days_ago, (old.today - days_ago)::timestamp AT TIME ZONE 'Asia/Shanghai',
           current_setting('warranty.caller')
    FROM (VALUES (43, 3607, 250), (3607, 3616, 100)) step (old_i, new_i, days_ago)
    JOIN sample_units old ON old.i = old_i
    JOIN sample_units new ON new.i = new_i
    ORDER BY days_ago DESC;

-- Five good units on the depot's shelf, fit to be given for the discontinued model (T3).
INSERT INTO stock_locations VALUES ('DEPOT', 'Shenzhen depot', false);
CREATE TEMPORARY TABLE sample_shelf ON COMMIT DROP AS
    SELECT serial, model FROM sample_units
     WHERE model = 'AOP-FT-1110' AND sold_on IS NULL AND i % 401 <> 0
     ORDER BY serial LIMIT 5;
INSERT INTO stock_movements (serial, number, to_location, to_condition, reason, moved_at, moved_by)
    SELECT serial, 1, 'DEPOT', 'NEW', 'from the factory', now(), current_setting('warranty.caller') FROM sample_shelf;
INSERT INTO stock_units (serial, model, location, condition, number) SELECT serial, model, 'DEPOT', 'NEW', 1 FROM sample_shelf;
