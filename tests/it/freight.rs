//! Freight: what each leg cost, who pays it, corrections, statements of closed periods, and the export.

use futures::future::join_all;
use sqlx::{AssertSqlSafe, Connection};
use tonic::{Code, Response};
use warranty::contract::{google, v1::*};

use crate::{
    claims::{Life, Outcome, count},
    twice::until,
    world::{Caller, World, date, fen_as_money, id, metadata, refusal, violations},
};

async fn record(
    world: &World,
    parcel: &str,
    fen: i64,
    terms: FreightTerms,
    reason: &str,
) -> Outcome<Vec<FreightEntry>> {
    let request = RecordFreightCostRequest {
        request_id: id(),
        shipment_id: parcel.into(),
        cost: Some(fen_as_money(fen)),
        terms: terms.into(),
        reason: reason.into(),
    };
    Ok(world.staff().logistics.record_freight_cost(request).await?.into_inner().entries)
}

fn period(dealer_id: &str, first: &str, last: &str) -> GetFreightStatementRequest {
    let (first_date, last_date) = (Some(date(first)), Some(date(last)));
    GetFreightStatementRequest { dealer_id: dealer_id.into(), first_date, last_date, ..Default::default() }
}

async fn statement(mut caller: Caller, asked: GetFreightStatementRequest) -> Outcome<GetFreightStatementResponse> {
    caller.logistics.get_freight_statement(asked).await.map(Response::into_inner)
}

async fn exported(world: &World, after_sequence: i64) -> Vec<FreightEntry> {
    let request = ExportFreightRequest { after_sequence, page_size: 500 };
    world.staff().logistics.export_freight(request).await.unwrap().into_inner().entries
}

fn fen(money: Option<&google::r#type::Money>) -> i64 {
    money.map(|money| money.units * 100 + i64::from(money.nanos) / 10_000_000).unwrap()
}

/// An entry as one line.
fn line(entry: &FreightEntry) -> String {
    let short = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap().to_owned();
    format!(
        "{} {} {} {} {} {} {}",
        short(entry.kind().as_str_name(), "FREIGHT_ENTRY_KIND_"),
        entry.serial,
        short(entry.clause().as_str_name(), "CLAUSE_"),
        short(entry.payer().as_str_name(), "PAYER_"),
        short(entry.terms().as_str_name(), "FREIGHT_TERMS_"),
        fen(entry.amount.as_ref()),
        entry.reason,
    )
    .trim_end()
    .to_owned()
}

fn lines(entries: &[FreightEntry]) -> Vec<String> {
    entries.iter().map(line).collect()
}

fn total(payer: Payer, clause: Clause, terms: FreightTerms, fen: i64, entry_count: i64) -> FreightTotal {
    let amount = if fen < 0 {
        google::r#type::Money { currency_code: "CNY".into(), units: fen / 100, nanos: (fen % 100) as i32 * 10_000_000 }
    } else {
        fen_as_money(fen)
    };
    FreightTotal { payer: payer.into(), clause: clause.into(), terms: terms.into(), amount: Some(amount), entry_count }
}

/// A parcel to the maker with a claim for each serial.
async fn sent_in(world: &World, serials: &[&str]) -> (String, Vec<Claim>) {
    let life = Life(world);
    let mut claims = Vec::new();
    for serial in serials {
        claims.push(life.in_state(serial, 60, ClaimState::Authorized).await);
    }
    let ids: Vec<_> = claims.iter().map(|claim| claim.claim_id.as_str()).collect();
    (life.open_return(&ids).await.unwrap().shipment_id, claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_is_the_clauses_and_a_closed_period_never_changes() {
    use FreightTerms as T;
    let world = World::stocked().await;
    let life = Life(&world);
    let (inbound, claims) = sent_in(&world, &["LEG1", "LEG2", "LEG3"]).await;
    let june = || period("D1", "2026-06-01", "2026-06-30");
    let open = GetFreightStatementResponse { without_cost_count: 1, ..Default::default() };
    assert_eq!(statement(world.staff(), june()).await.unwrap(), open);

    // To the maker the sender pays (M5); the shares are of the whole parcel, to the fen.
    let written = record(&world, &inbound, 1_000, T::Prepaid, "").await.unwrap();
    let of = |serial: &str| written.iter().find(|entry| entry.serial == serial).map(line).unwrap();
    let mut shares: Vec<_> = written.iter().map(|entry| fen(entry.amount.as_ref())).collect();
    shares.sort_unstable();
    assert_eq!(shares, [333, 333, 334]);
    assert!(of("LEG1").starts_with("CHARGE LEG1 M5 SENDER PREPAID 33"), "{}", of("LEG1"));
    // From the maker, what is repaired free is the maker's (M6).
    life.receive(&claims[0], &inbound, |_| {}).await.unwrap();
    life.inspect(&claims[0].claim_id, &[]).await.unwrap();
    life.repair(&claims[0].claim_id).await.unwrap();
    let outbound = life.dispatch(&[(&claims[0].claim_id, "")]).await.unwrap().shipment_id;
    let sent = record(&world, &outbound, 1_500, T::Unknown, "").await.unwrap();
    assert_eq!(lines(&sent), ["CHARGE LEG1 M6 MAKER UNKNOWN 1500"]);

    world.set("2026-06-30T16:30:00Z");
    assert!(!statement(world.dealer("D1"), june()).await.unwrap().closed, "writes of the last day may be under way");
    world.set("2026-07-02T04:00:00Z");
    let closed = statement(world.dealer("D1"), june()).await.unwrap();
    let expected = GetFreightStatementResponse {
        closed: true,
        totals: vec![
            total(Payer::Sender, Clause::M5, T::Prepaid, 1_000, 3),
            total(Payer::Maker, Clause::M6, T::Unknown, 1_500, 1),
        ],
        entries: [written, sent].concat(),
        ..Default::default()
    };
    assert_eq!(closed, expected);

    // A correction is a reversal and a new charge, for the day it was made.
    let refused = record(&world, &outbound, 1_800, T::Prepaid, "").await.unwrap_err();
    assert_eq!(
        violations(&refused),
        [("reason".to_owned(), "is required: this corrects what was recorded before".to_owned())]
    );
    let corrected = record(&world, &outbound, 1_800, T::Prepaid, "weighed again").await.unwrap();
    assert_eq!(
        lines(&corrected),
        ["REVERSAL LEG1 M6 MAKER UNKNOWN -1500 weighed again", "CHARGE LEG1 M6 MAKER PREPAID 1800 weighed again"]
    );
    let again = record(&world, &outbound, 1_800, T::Prepaid, "weighed again").await.unwrap_err();
    assert_eq!(violations(&again)[0].1, "is what was recorded before: there is nothing to correct");
    assert_eq!(statement(world.staff(), june()).await.unwrap(), expected, "June is closed");
    let july = statement(world.dealer("D1"), period("", "2026-07-01", "2026-07-31")).await.unwrap();
    let expected = GetFreightStatementResponse {
        totals: vec![
            total(Payer::Maker, Clause::M6, T::Prepaid, 1_800, 1),
            total(Payer::Maker, Clause::M6, T::Unknown, -1_500, 1),
        ],
        entries: corrected,
        ..Default::default()
    };
    assert_eq!(july, expected);

    // A clock that was set back does not open what is closed: days never fall.
    world.set("2026-06-20T04:00:00Z");
    let late = record(&world, &outbound, 1_700, T::Prepaid, "again").await.unwrap();
    assert_eq!(late[0].booked_date, Some(date("2026-07-02")));

    // Pages of the same statement.
    let (mut asked, mut found) = (period("D1", "2026-06-01", "2026-07-31"), Vec::new());
    asked.page_size = 3;
    loop {
        let page = statement(world.dealer("D1"), asked.clone()).await.unwrap();
        found.extend(page.entries);
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, exported(&world, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_sees_their_own_freight() {
    let world = World::stocked().await;
    let (parcel, claims) = sent_in(&world, &["OWN1"]).await;
    record(&world, &parcel, 900, FreightTerms::Collect, "").await.unwrap();
    let june = |dealer: &str| period(dealer, "2026-06-01", "2026-06-30");
    assert_eq!(statement(world.dealer("D2"), june("")).await.unwrap(), GetFreightStatementResponse::default());
    for refused in [statement(world.dealer("D2"), june("D1")).await, statement(world.staff(), june("D9")).await] {
        assert_eq!(refusal(&refused.unwrap_err()), (Code::NotFound, "NOT_FOUND".into()));
    }
    let customer = claims[0].customer_id.parse().unwrap();
    assert_eq!(statement(world.customer(customer), june("")).await.unwrap(), GetFreightStatementResponse::default());
    assert_eq!(refusal(&statement(world.customer(customer), june("D1")).await.unwrap_err()).0, Code::NotFound);
    let refused = statement(world.staff(), GetFreightStatementRequest::default()).await.unwrap_err();
    let fields: Vec<_> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["dealer_id", "first_date", "last_date"]);
    let backwards = statement(world.staff(), period("D1", "2026-06-02", "2026-06-01")).await.unwrap_err();
    assert_eq!(violations(&backwards)[0].0, "last_date");
    let stranger = GetFreightStatementRequest { customer_id: id(), dealer_id: String::new(), ..june("") };
    let refused = statement(world.staff(), stranger).await.unwrap_err();
    assert_eq!((refused.code(), metadata(&refused, "kind").as_str()), (Code::NotFound, "customer"));
    let known = GetFreightStatementRequest { customer_id: claims[0].customer_id.clone(), ..june("") };
    assert_eq!(statement(world.staff(), known).await.unwrap(), GetFreightStatementResponse::default());
    let nowhere = record(&world, &id(), 1, FreightTerms::Prepaid, "").await.unwrap_err();
    assert_eq!(refusal(&nowhere), (Code::NotFound, "NOT_FOUND".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_corrections_at_once_come_one_after_the_other_and_nothing_else_can_be_written() {
    let world = World::stocked().await;
    let (parcel, _) = sent_in(&world, &["RACE1", "RACE2"]).await;
    record(&world, &parcel, 100, FreightTerms::Prepaid, "").await.unwrap();
    // None is what stands already: a correction that corrects nothing is refused.
    let corrections = (2..=9).map(|fen| record(&world, &parcel, fen * 100, FreightTerms::Prepaid, "corrected"));
    let written: Vec<_> = join_all(corrections).await.into_iter().map(Result::unwrap).collect();
    assert!(written.iter().all(|entries| entries.len() == 4));
    let sum = "SELECT sum(CASE kind WHEN 'CHARGE' THEN cost_fen ELSE -cost_fen END)::bigint FROM freight_entries";
    let last = written.iter().max_by_key(|entries| entries[0].sequence).unwrap();
    let charged: i64 =
        last.iter().filter(|entry| fen(entry.amount.as_ref()) > 0).map(|entry| fen(entry.amount.as_ref())).sum();
    assert_eq!(count(&world, sum).await, charged, "what was charged last stands");
    // An entry beside the rules is refused by name, whoever writes it.
    let mut owner = world.owner().await;
    for (number, cost, kind, constraint) in [
        (18, 1, "REVERSAL", "freight_reverses_what_was_charged"),
        (18, 50, "CHARGE", "freight_charged_then_reversed"),
        (17, 50, "CHARGE", "freight_one_entry_for_a_number"),
        (21, 50, "CHARGE", "freight_without_gaps"),
    ] {
        let insert = format!(
            "INSERT INTO freight_entries (sequence, shipment_id, claim_id, number, kind, party, carrier, terms, cost_fen, reason, booked_on, recorded_at, recorded_by)
             SELECT 9999, shipment_id, claim_id, {number}, '{kind}', party, carrier, terms, {cost}, 'by hand', booked_on, recorded_at, recorded_by
               FROM freight_entries WHERE number = 17 LIMIT 1"
        );
        let mut held = owner.begin().await.unwrap();
        sqlx::query("SET LOCAL row_security = off").execute(&mut *held).await.unwrap();
        let refused = sqlx::query(AssertSqlSafe(insert)).execute(&mut *held).await.unwrap_err();
        assert_eq!(refused.as_database_error().and_then(|error| error.constraint()), Some(constraint));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_carries_a_parcel_is_read_when_it_is_its_turn_to_be_charged() {
    let world = World::stocked().await;
    let (parcel, _) = sent_in(&world, &["TURN1"]).await;
    let mut owner = world.owner().await;
    let mut other = owner.begin().await.unwrap();
    sqlx::query("SELECT freight_day('2026-06-15')").execute(&mut *other).await.unwrap();
    let charged = async { record(&world, &parcel, 900, FreightTerms::Prepaid, "").await.unwrap() };
    let corrected = async {
        until("it waits for its turn", async || {
            let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                            WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";
            count(&world, waiting).await > 0
        })
        .await;
        let request = RecordTrackingRequest {
            request_id: id(),
            shipment_id: parcel.clone(),
            carrier: "YTO".into(),
            tracking_number: "Y1".into(),
            ..Default::default()
        };
        world.staff().logistics.record_tracking(request).await.unwrap();
        other.commit().await.unwrap();
    };
    let (charged, ()) = tokio::join!(charged, corrected);
    assert_eq!(charged[0].carrier, "YTO");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_tells_everything_in_the_order_of_the_commits() {
    let world = World::stocked().await;
    let serials: Vec<String> = (0..6).map(|at| format!("EXP{at}")).collect();
    let mut parcels = Vec::new();
    for serial in &serials {
        parcels.push(sent_in(&world, &[serial]).await.0);
    }
    let writing = async {
        join_all(parcels.iter().map(async |parcel| {
            record(&world, parcel, 100, FreightTerms::Prepaid, "").await.unwrap();
            for fen in 0..8 {
                record(&world, parcel, fen, FreightTerms::Collect, "corrected").await.unwrap();
            }
        }))
        .await
    };
    let all = 6 * (1 + 8 * 2);
    let reading = async {
        let (mut found, mut after): (Vec<FreightEntry>, i64) = (Vec::new(), 0);
        while found.len() < all {
            let told = exported(&world, after).await;
            after = told.last().map_or(after, |entry| entry.sequence);
            found.extend(told);
        }
        found
    };
    let (_, found) = futures::join!(writing, reading);
    assert_eq!(found, exported(&world, 0).await, "a reader that polls misses nothing, and reads nothing twice");
}
