//! What was changed behind the system's back is found, whichever column; what was not is not.

use std::collections::BTreeSet;

use indicatif::ProgressBar;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::process::Command;
use warranty::{audit, contract::v1::*, store::audit::Fault};

use crate::{claims::Life, world::World};

pub async fn faults(world: &World) -> Vec<String> {
    let mut faults: Vec<Fault> = Vec::new();
    audit::verify(&world.url, &ProgressBar::hidden(), |fault| faults.push(fault)).await.unwrap();
    faults.iter().map(ToString::to_string).collect()
}

async fn change(owner: &mut PgConnection, sql: &str) {
    let changed = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(owner).await.unwrap();
    assert_eq!(changed.rows_affected(), 1, "{sql}");
}

/// A superuser's way: no constraint, no index and no trigger of these tables stands against it.
async fn without_guards(owner: &mut PgConnection) {
    let drop = "DO $$ DECLARE c record; ours regclass[] := ARRAY['claims', 'claim_events', 'claim_decisions']; BEGIN
        FOR c IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
                  WHERE contype IN ('c', 'f') AND (conrelid = ANY (ours) OR confrelid = ANY (ours)) LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', c.of, c.conname);
        END LOOP; END $$";
    sqlx::raw_sql(drop).execute(owner).await.unwrap();
}

/// Another value of the same type.
fn other(column: &str, kind: &str) -> String {
    match kind {
        "uuid" => "gen_random_uuid()".into(),
        "text" => format!("coalesce({column}, '') || 'X'"),
        "boolean" => format!("NOT coalesce({column}, false)"),
        "bigint" => format!("coalesce({column}, 0) + 1000"),
        "date" => format!("coalesce({column}, '2026-06-15') + 1"),
        "timestamp with time zone" => format!("{column} + interval '1 microsecond'"),
        "jsonb" => format!("jsonb_set({column}, '{{changed}}', '1')"),
        "bytea" => format!("sha256({column})"),
        "ARRAY" => format!("{column} || 'X3'::text"),
        kind => panic!("{column} is {kind}: which other value is there?"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_was_changed_behind_the_systems_back_is_found() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("AUDIT001", 60, ClaimState::Closed).await.claim_id;
    let decided = life.in_state("AUDIT002", 60, ClaimState::Inspected).await.claim_id;
    assert_eq!(faults(&world).await, [""; 0], "nobody changed anything yet");
    let mut owner = world.owner().await;
    without_guards(&mut owner).await;
    // In which trace an event was written is no fact.
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
          WHERE table_schema = 'public' AND table_name IN ('claims', 'claim_events', 'claim_decisions') AND column_name <> 'traceparent'
          ORDER BY 1, ordinal_position",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(columns.len() > 60, "the columns were found");
    for table in ["claims", "claim_events", "claim_decisions"] {
        let keep = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        sqlx::raw_sql(AssertSqlSafe(keep)).execute(&mut owner).await.unwrap();
    }
    let mut found = BTreeSet::new();
    for (table, column, kind) in &columns {
        // The decision of an inspection, the event of a receipt, the row of a claim that is closed.
        let of = match table.as_str() {
            "claims" => format!("claim_id = '{claim}'"),
            "claim_events" => format!("claim_id = '{claim}' AND sequence = 4"),
            _ => format!("claim_id = '{decided}' AND stage = 'FINAL'"),
        };
        change(&mut owner, &format!("UPDATE {table} SET {column} = {} WHERE {of}", other(column, kind))).await;
        let told = faults(&world).await;
        assert!(!told.is_empty(), "{table}.{column} was changed and nobody noticed");
        if column != "claim_id" {
            let (id, event) = match table.as_str() {
                "claims" => (&claim, String::new()),
                "claim_events" => (&claim, if column == "sequence" { String::new() } else { ", event 4".into() }),
                _ => (&decided, if column == "sequence" { String::new() } else { ", event 5".into() }),
            };
            assert!(
                told.iter().any(|fault| fault.starts_with(&format!("claim {id}{event}"))),
                "{table}.{column}: {told:?}"
            );
        }
        found.insert(format!("{table}.{column}"));
        let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}");
        sqlx::raw_sql(AssertSqlSafe(back)).execute(&mut owner).await.unwrap();
        assert_eq!(faults(&world).await, [""; 0], "{table}.{column} is as it was");
    }
    assert_eq!(found.len(), columns.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_missed() {
    let world = World::stocked().await;
    let life = Life(&world);
    let mut owner = world.owner().await;
    without_guards(&mut owner).await;
    for (at, (state, delete, expected)) in [
        (
            ClaimState::Received,
            "DELETE FROM claim_events WHERE claim_id = 'ID' AND sequence = 4",
            "claim ID: its row is not what its events say: due_on, state, version",
        ),
        (
            ClaimState::Received,
            "DELETE FROM claim_events WHERE claim_id = 'ID' AND sequence = 3",
            "claim ID, event 4: an event before it is missing",
        ),
        (ClaimState::Filed, "DELETE FROM claim_events WHERE claim_id = 'ID'", "claim ID: its filing is missing"),
        (
            ClaimState::Filed,
            "DELETE FROM claim_decisions WHERE claim_id = 'ID'",
            "claim ID, event 1: it, its decision or its hash was changed",
        ),
        (ClaimState::Filed, "DELETE FROM claims WHERE claim_id = 'ID'", "claim ID, event 1: its claim is missing"),
    ]
    .into_iter()
    .enumerate()
    {
        let claim = life.in_state(&format!("GONE{at:04}"), 60, state).await.claim_id;
        change(&mut owner, &delete.replace("ID", &claim)).await;
        let told = faults(&world).await;
        assert!(told.contains(&expected.replace("ID", &claim)), "{delete}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_claim_left_in_other_tables_is_held_against_its_events() {
    let world = World::stocked().await;
    let life = Life(&world);
    let paid = life.in_state("PAID0001", 60, ClaimState::Quoted).await;
    life.accept(&paid.claim_id, &paid.quote_id).await.unwrap();
    life.repair(&paid.claim_id).await.unwrap();
    life.pay(&paid.claim_id, 14_691, "P-1").await.unwrap();
    life.in_state("SWAP0001", 3, ClaimState::Swapped).await;
    assert_eq!(faults(&world).await, [""; 0]);
    let mut owner = world.owner().await;
    for (change_it, back) in [
        (
            "UPDATE billables SET amount_fen = 14692 WHERE kind = 'CHARGE'",
            "UPDATE billables SET amount_fen = 14691 WHERE kind = 'CHARGE'",
        ),
        (
            "UPDATE billables SET reference = 'P-2' WHERE kind = 'PAYMENT'",
            "UPDATE billables SET reference = 'P-1' WHERE kind = 'PAYMENT'",
        ),
        ("UPDATE repairs SET completed_on = completed_on + 1", "UPDATE repairs SET completed_on = completed_on - 1"),
        ("UPDATE repairs SET paid = false", "UPDATE repairs SET paid = true"),
        (
            "UPDATE replacements SET claim_id = NULL",
            "UPDATE replacements r SET claim_id = c.claim_id FROM claims c WHERE c.swapped_for = r.replacement_serial",
        ),
    ] {
        change(&mut owner, change_it).await;
        assert!(!faults(&world).await.is_empty(), "{change_it}: nobody noticed");
        change(&mut owner, back).await;
        assert_eq!(faults(&world).await, [""; 0], "{back}");
    }
    change(&mut owner, "DELETE FROM billables WHERE kind = 'PAYMENT'").await;
    let missing = format!("claim {}: its entry PAYMENT of billing's feed is not what its events say", paid.claim_id);
    assert_eq!(faults(&world).await, [missing]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_names_what_does_not_fit_and_exits_with_1() {
    let world = World::stocked().await;
    let claim = Life(&world).in_state("SHELL001", 60, ClaimState::Authorized).await.claim_id;
    let verify = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
        let output = command.args(["audit", "verify"]).env("DATABASE_URL", &world.url).output().await.unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    assert_eq!(verify().await, ("1 claims verified, 0 faults\n".to_owned(), Some(0)));
    change(&mut world.owner().await, "UPDATE claims SET reason = 'another'").await;
    let told = format!("claim {claim}: its row is not what its events say: reason\n1 claims verified, 1 faults\n");
    assert_eq!(verify().await, (told, Some(1)));
}
