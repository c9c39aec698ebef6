//! What no run may break, asked of the tables: each invariant by its name, as rows that break it.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    claims::Life,
    world::{World, id},
};
use warranty::contract::v1::*;

const INVARIANTS: &[(&str, &str)] = &[
    (
        "a unit has one open claim",
        "SELECT FROM claims WHERE state NOT IN ('RESOLVED', 'REJECTED', 'CLOSED', 'CANCELLED') GROUP BY serial HAVING count(*) > 1",
    ),
    (
        "a unit is replaced once",
        "SELECT FROM replacements GROUP BY replaced_serial HAVING count(*) > 1",
    ),
    (
        "a unit is given once",
        "SELECT FROM (SELECT swapped_for AS serial FROM claims UNION ALL SELECT outcome_serial FROM claims) given
          WHERE serial IS NOT NULL GROUP BY serial HAVING count(*) > 1",
    ),
    (
        "who is replaced is replaced under a claim that says so",
        "SELECT FROM replacements r LEFT JOIN claims c USING (claim_id)
          WHERE coalesce(c.swapped_for, c.outcome_serial) IS DISTINCT FROM r.replacement_serial
            -- What was lost on its way out was replaced again, or given up.
            AND NOT EXISTS (SELECT FROM claim_events e WHERE e.claim_id = c.claim_id AND e.state = 'LOST')",
    ),
    (
        "a unit in stock stands in one place",
        "SELECT FROM stock_units GROUP BY serial HAVING count(*) > 1",
    ),
    (
        "a unit in stock is in no parcel that is on its way",
        "SELECT FROM stock_units s JOIN shipment_items i USING (serial) WHERE i.arrived_at IS NULL AND i.lost_at IS NULL",
    ),
    (
        "a unit stands where its movements end",
        "SELECT FROM (SELECT DISTINCT ON (serial) * FROM stock_movements ORDER BY serial, number DESC) m FULL JOIN stock_units s USING (serial)
          WHERE (m.to_location, m.to_condition) IS DISTINCT FROM (s.location, s.condition)",
    ),
    (
        "each balance is the sum of its movements, and never below nothing",
        "SELECT FROM (SELECT location, condition, sum(units) AS balance
                        FROM (SELECT to_location AS location, to_condition AS condition, 1 AS units FROM stock_movements
                              UNION ALL SELECT from_location, from_condition, -1 FROM stock_movements) moved
                       WHERE location IS NOT NULL GROUP BY location, condition) b
           FULL JOIN (SELECT location, condition, count(*) AS there FROM stock_units GROUP BY location, condition) s USING (location, condition)
          WHERE coalesce(balance, 0) <> coalesce(there, 0) OR balance < 0",
    ),
    (
        "a unit is held for a claim that may have it",
        "SELECT FROM stock_units s LEFT JOIN claims c ON c.claim_id = s.held_for
          WHERE s.held_until > '2026-06-15T04:00:00Z'
            AND (s.condition NOT IN ('NEW', 'GOOD')
                 OR NOT coalesce(c.state = 'IN_REPAIR' OR c.state = 'READY' AND c.outcome = 'REPLENISHMENT' AND c.outcome_serial IS NULL, false))",
    ),
    (
        "a claim has one unit held for it",
        "SELECT FROM stock_units WHERE held_for IS NOT NULL GROUP BY held_for HAVING count(*) > 1",
    ),
    (
        "what is on its way stands in one parcel that is open",
        "SELECT FROM claims c LEFT JOIN (SELECT i.claim_id, s.direction, count(*) AS places, min(s.shipment_id::text) AS parcel
                                           FROM shipment_items i JOIN shipments s USING (shipment_id)
                                          WHERE i.arrived_at IS NULL AND i.lost_at IS NULL GROUP BY i.claim_id, s.direction) p
             ON p.claim_id = c.claim_id AND p.direction = CASE c.state WHEN 'IN_TRANSIT' THEN 'INBOUND' ELSE 'OUTBOUND' END
          WHERE c.state IN ('IN_TRANSIT', 'DISPATCHED')
            AND (p.places IS DISTINCT FROM 1 OR p.parcel IS DISTINCT FROM
                 (CASE c.state WHEN 'IN_TRANSIT' THEN c.inbound_shipment_id ELSE c.outbound_shipment_id END)::text)",
    ),
    (
        "a parcel is open for what is on its way and for nothing else",
        "SELECT FROM shipment_items i JOIN claims c USING (claim_id)
          WHERE i.arrived_at IS NULL AND i.lost_at IS NULL AND c.state NOT IN ('IN_TRANSIT', 'DISPATCHED')",
    ),
    (
        "what was set aside for a claim was received for it",
        "SELECT FROM set_aside a LEFT JOIN shipment_items i ON i.claim_id = a.claim_id AND i.arrived_at IS NOT NULL
          WHERE a.settlement = 'CLAIM' AND i.claim_id IS NULL",
    ),
    (
        "double entry sums to nothing",
        "SELECT FROM (SELECT dealer_id, sum(CASE WHEN debit_account = 'maker' THEN 1 ELSE 0 END - CASE WHEN credit_account = 'maker' THEN 1 ELSE 0 END) AS maker,
                             sum(CASE WHEN debit_account = 'dealer/' || dealer_id THEN 1 ELSE 0 END
                                 - CASE WHEN credit_account = 'dealer/' || dealer_id THEN 1 ELSE 0 END) AS dealer,
                             sum(CASE WHEN (debtor = 'MAKER') = (kind = 'OPENED') THEN 1 ELSE -1 END) AS owed,
                             bool_or((debit_account = 'maker') = (credit_account = 'maker')) AS one_sided
                        FROM ledger_entries GROUP BY dealer_id) accounts
          WHERE maker + dealer <> 0 OR maker <> owed OR one_sided",
    ),
    (
        "a closed debt was closed by one cause",
        "SELECT FROM ledger_entries GROUP BY claim_id, debtor, (number + 1) / 2
         HAVING count(*) FILTER (WHERE kind = 'OPENED') <> 1 OR count(*) FILTER (WHERE kind <> 'OPENED') > 1",
    ),
    (
        "a faulty unit is owed until it is received",
        "SELECT FROM ledger_entries o JOIN claims c USING (claim_id)
          WHERE o.debtor = 'DEALER' AND o.kind = 'OPENED' AND c.state NOT IN ('SWAPPED', 'IN_TRANSIT', 'LOST')
            AND NOT EXISTS (SELECT FROM ledger_entries x WHERE (x.claim_id, x.debtor, x.number) = (o.claim_id, o.debtor, o.number + 1))",
    ),
    (
        "nothing is owed for what was sent",
        "SELECT FROM ledger_entries o JOIN claims c USING (claim_id)
          WHERE o.debtor = 'MAKER' AND o.kind = 'OPENED' AND c.state IN ('DISPATCHED', 'CLOSED')
            AND NOT EXISTS (SELECT FROM ledger_entries x WHERE (x.claim_id, x.debtor, x.number) = (o.claim_id, o.debtor, o.number + 1))",
    ),
    (
        "paid is what is charged",
        "SELECT FROM claims WHERE paid AND (charge_fen IS NULL OR outcome IS NULL OR outcome NOT IN ('REPAIRED', 'REPLACED', 'LOST', 'SETTLED'))",
    ),
    (
        "what is charged and not paid has left only by credit terms",
        "SELECT FROM claims c WHERE outcome = 'REPAIRED' AND charge_fen > 0 AND NOT paid AND state IN ('DISPATCHED', 'CLOSED')
            AND NOT EXISTS (SELECT FROM dealers d WHERE d.dealer_id = c.dealer_id AND d.credit_terms)",
    ),
    (
        "billing's feed sums to the claims",
        "SELECT FROM (VALUES ('CHARGE', (SELECT sum(charge_fen) FROM claims WHERE outcome IN ('REPAIRED', 'REPLACED', 'LOST', 'SETTLED'))),
                ('CHARGE_REVERSED', (SELECT sum(charge_fen) FROM claims WHERE outcome = 'LOST')),
                ('PAYMENT', (SELECT sum(charge_fen) FROM claims WHERE paid)),
                ('GOODWILL', (SELECT sum(goodwill_cost_fen) FROM claims))) AS claimed (kind, total)
          WHERE total IS DISTINCT FROM (SELECT sum(amount_fen) FROM billables b WHERE b.kind = claimed.kind)",
    ),
    (
        "no request was answered twice",
        "SELECT FROM request_log GROUP BY caller, request_id HAVING count(*) > 1",
    ),
];

/// The names of those that are broken, asked in one statement, of one moment.
async fn broken(conn: &mut PgConnection) -> Vec<String> {
    let each =
        |(name, rows): &(&str, &str)| format!("SELECT '{}' AS name WHERE EXISTS ({rows})", name.replace('\'', "''"));
    let all = INVARIANTS.iter().map(each).collect::<Vec<_>>().join(" UNION ALL ");
    sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(conn).await.unwrap()
}

pub async fn hold(conn: &mut PgConnection) {
    assert_eq!(broken(conn).await, [""; 0]);
}

/// A breach of each, planted past the constraints that keep it out.
const BREACHES: &[(&str, &str)] = &[
    (
        "a unit has one open claim",
        "DROP INDEX claims_one_open_for_a_unit; UPDATE claims SET state = 'FILED' WHERE state = 'CANCELLED'",
    ),
    (
        "a unit is replaced once",
        "ALTER TABLE replacements DROP CONSTRAINT replacements_replaced_once CASCADE; UPDATE replacements SET replaced_serial = 'SAME'",
    ),
    (
        "a unit is given once",
        "ALTER TABLE claims DROP CONSTRAINT IF EXISTS claims_swapped_for_once; DROP INDEX IF EXISTS claims_swapped_for_once;
         UPDATE claims SET swapped_for = 'SAME' WHERE state IN ('SWAPPED', 'READY')",
    ),
    (
        "who is replaced is replaced under a claim that says so",
        "UPDATE claims SET swapped_for = NULL WHERE state = 'SWAPPED'",
    ),
    (
        "a unit in stock stands in one place",
        "ALTER TABLE stock_units DROP CONSTRAINT stock_units_in_one_place CASCADE; INSERT INTO stock_units SELECT * FROM stock_units WHERE held_for IS NULL LIMIT 1",
    ),
    (
        "a unit in stock is in no parcel that is on its way",
        "UPDATE shipment_items SET arrived_at = NULL, serial = (SELECT serial FROM stock_units LIMIT 1)",
    ),
    ("a unit stands where its movements end", "UPDATE stock_units SET location = 'ELSEWHERE'"),
    (
        "each balance is the sum of its movements, and never below nothing",
        "ALTER TABLE stock_movements DROP CONSTRAINT stock_movements_first_from_nowhere;
         UPDATE stock_movements SET from_location = 'SHELF', from_condition = 'FAULTY'",
    ),
    (
        "a unit is held for a claim that may have it",
        "UPDATE claims SET state = 'CANCELLED', outcome = NULL WHERE claim_id IN (SELECT held_for FROM stock_units)",
    ),
    (
        "a claim has one unit held for it",
        "DROP INDEX stock_units_one_held_for_a_claim;
         UPDATE stock_units SET (held_for, held_until) = (SELECT held_for, held_until FROM stock_units WHERE held_for IS NOT NULL)",
    ),
    (
        "what is on its way stands in one parcel that is open",
        "UPDATE shipment_items SET arrived_at = now()",
    ),
    (
        "a parcel is open for what is on its way and for nothing else",
        "UPDATE shipment_items SET arrived_at = NULL, lost_at = NULL",
    ),
    (
        "what was set aside for a claim was received for it",
        "INSERT INTO set_aside (set_aside_id, shipment_id, difference, transport_damage, found_at, found_by, settlement, settled_at, settled_by, reason, claim_id)
         SELECT gen_random_uuid(), inbound_shipment_id, 'UNANNOUNCED', false, now(), 'x', 'CLAIM', now(), 'x', 'x', claim_id
           FROM claims WHERE state = 'IN_TRANSIT'",
    ),
    (
        "double entry sums to nothing",
        "ALTER TABLE ledger_entries ALTER debit_account DROP EXPRESSION; UPDATE ledger_entries SET debit_account = 'nobody'",
    ),
    (
        "a closed debt was closed by one cause",
        "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_opened_then_closed; UPDATE ledger_entries SET kind = 'RETURNED', due_on = NULL, remedy = NULL",
    ),
    (
        "a faulty unit is owed until it is received",
        "DELETE FROM ledger_entries WHERE debtor = 'DEALER' AND kind <> 'OPENED'",
    ),
    ("nothing is owed for what was sent", "UPDATE claims SET state = 'DISPATCHED' WHERE state = 'READY'"),
    (
        "paid is what is charged",
        "ALTER TABLE claims DROP CONSTRAINT claims_paid_what_is_charged; UPDATE claims SET paid = true",
    ),
    (
        "what is charged and not paid has left only by credit terms",
        "UPDATE claims SET outcome = 'REPAIRED', charge_fen = 100, charge_vat_fen = 10, quote_id = claim_id WHERE state = 'DISPATCHED'",
    ),
    ("billing's feed sums to the claims", "INSERT INTO billables SELECT 1, 'PAYMENT', claim_id, serial, dealer_id, customer_id, NULL, 5, 0, 'planted', now() FROM claims LIMIT 1"),
    (
        "no request was answered twice",
        "ALTER TABLE request_log DROP CONSTRAINT request_log_once; INSERT INTO request_log SELECT * FROM request_log LIMIT 1",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_invariant_names_the_breach_of_it() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut depot = world.staff().logistics;
    life.in_state("PLANT0", 60, ClaimState::Cancelled).await;
    world.dealer("D1").claims.file_claim(crate::world::filing("PLANT0")).await.unwrap();
    life.in_state("PLANT1", 60, ClaimState::InTransit).await;
    life.in_state("PLANT2", 60, ClaimState::Dispatched).await;
    life.in_state("PLANT3", 3, ClaimState::Swapped).await;
    let swapped = life.in_state("PLANT4", 3, ClaimState::Swapped).await;
    let parcel = life.open_return(&[&swapped.claim_id]).await.unwrap();
    life.receive(&swapped, &parcel.shipment_id, |_| {}).await.unwrap();
    life.inspect(&swapped.claim_id, &[]).await.unwrap();
    let location = Some(StockLocation { location: "SHELF".into(), name: "a shelf".into(), receives_replaced: false });
    depot.put_stock_location(PutStockLocationRequest { request_id: id(), location }).await.unwrap();
    for serial in ["GOOD1", "GOOD2"] {
        world.unit(serial).await;
        let request = ReceiveStockRequest {
            request_id: id(),
            serials: vec![serial.into()],
            location: "SHELF".into(),
            condition: StockCondition::Good.into(),
            reason: "from the factory".into(),
        };
        depot.receive_stock(request).await.unwrap();
    }
    let request = AllocateReplacementRequest { request_id: id(), claim_id: swapped.claim_id };
    depot.allocate_replacement(request).await.unwrap();

    let mut owner = world.owner().await;
    hold(&mut owner).await;
    let (planted, known): (Vec<_>, Vec<_>) =
        (BREACHES.iter().map(|(name, _)| *name).collect(), INVARIANTS.iter().map(|(name, _)| *name).collect());
    assert_eq!(planted, known, "each has a breach");
    for (name, breach) in BREACHES {
        let plant = format!("BEGIN; SET LOCAL session_replication_role = replica; {breach}");
        sqlx::raw_sql(AssertSqlSafe(plant)).execute(&mut owner).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = broken(&mut owner).await;
        assert!(found.iter().any(|found| found == name), "{name} is not among {found:?}");
        sqlx::raw_sql("ROLLBACK").execute(&mut owner).await.unwrap();
    }
    hold(&mut owner).await;
}
