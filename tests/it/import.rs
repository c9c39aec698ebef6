//! Imports: what is kept, what is told, and that breaking off at any moment loses nothing acknowledged and doubles nothing.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use futures::{Stream, stream};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{process::Command, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;
use warranty::{
    contract::v1::{registry_service_client::RegistryServiceClient, *},
    domain::actor::Actor,
};

use crate::{
    twice::{Process, real_time, until},
    world::{AUDIENCE, Caller, ISSUER, World, channel, date, id, refusal},
};

const PATIENCE: Duration = Duration::from_secs(60);

// ---- rows, as they are sent and told

fn unit(serial: &str) -> Unit {
    Unit {
        serial: serial.into(),
        model: "PS-1".into(),
        manufactured_date: Some(date("2020-01-10")),
        ex_factory_date: Some(date("2020-01-20")),
        sold_by_maker: true,
        ..Default::default()
    }
}

fn units(from: usize, count: usize) -> Vec<Unit> {
    (from..from + count).map(|at| unit(&format!("UNIT{at:07}"))).collect()
}

fn sale(serial: &str) -> ImportedSale {
    ImportedSale { serial: serial.into(), sold_date: Some(date("2026-06-01")), ..Default::default() }
}

fn messages(units: Vec<Unit>) -> impl Stream<Item = ImportUnitsRequest> + Send + 'static {
    let messages: Vec<_> = units.chunks(1000).map(|units| ImportUnitsRequest { units: units.to_vec() }).collect();
    stream::iter(messages)
}

/// Every reply, and how the import ended.
async fn all<T>(mut replies: Streaming<T>) -> (Vec<T>, Result<(), Status>) {
    let mut told = Vec::new();
    loop {
        match timeout(PATIENCE, replies.message()).await.expect("the import answers") {
            Ok(Some(reply)) => told.push(reply),
            Ok(None) => return (told, Ok(())),
            Err(status) => return (told, Err(status)),
        }
    }
}

async fn import_units(caller: &mut Caller, units: Vec<Unit>) -> ImportUnitsResponse {
    let (told, ended) = all(caller.registry.import_units(messages(units)).await.unwrap().into_inner()).await;
    ended.unwrap();
    let rejected = told.iter().flat_map(|reply| reply.rejected.clone()).collect();
    ImportUnitsResponse { rejected, ..told.last().cloned().unwrap_or_default() }
}

async fn import_sales(caller: &mut Caller, sales: Vec<ImportedSale>) -> Result<ImportSalesResponse, Status> {
    let message = stream::iter([ImportSalesRequest { sales }]);
    let (told, ended) = all(caller.registry.import_sales(message).await?.into_inner()).await;
    ended.map(|()| told.last().cloned().unwrap_or_default())
}

fn rejected(row: i64, serial: &str, field: &str, rule: &str, reason: &str) -> RejectedRow {
    RejectedRow { row, serial: serial.into(), field: field.into(), rule: rule.into(), reason: reason.into() }
}

async fn count(connection: &mut PgConnection, rows: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {rows}"))).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_agree_with_the_registry_are_kept_and_the_others_told_by_their_rule() {
    let world = World::stocked().await;
    let mut staff = world.staff();
    world.unit_like("THERE1", |there| *there = unit("THERE1")).await;
    let like = |serial: &str, change: &dyn Fn(&mut Unit)| {
        let mut unit = unit(serial);
        change(&mut unit);
        unit
    };
    let rows = vec![
        unit("there-1"),
        like("THERE1", &|unit| unit.lot = "L2".into()),
        like("new 1", &|unit| unit.lot = "a\\b\t".trim().into()),
        unit("NEW1"),
        like("NEW1", &|unit| unit.lot = "a\\b".into()),
        like("NEW2", &|unit| unit.model = "PS-9".into()),
        like("N", &|unit| unit.manufactured_date = None),
        like("NEW3", &|unit| unit.manufactured_date = Some(date("2020-02-01"))),
        like("NEW4", &|unit| unit.refurbished_from = "NOWHERE".into()),
        like("NEW5", &|unit| unit.refurbished_from = "NEW1".into()),
        like("NEW6", &|unit| unit.refurbished_from = "NEW1".into()),
        like("NEW7", &|unit| unit.refurbished_from = "THERE1".into()),
    ];
    let conflict = "the unit is registered with other facts";
    let before = world.clock.now();
    assert_eq!(
        import_units(&mut staff, rows.clone()).await,
        ImportUnitsResponse {
            row_count: 12,
            created_count: 3,
            unchanged_count: 2,
            rejected_count: 7,
            rejected: vec![
                rejected(2, "THERE1", "serial", conflict, "REGISTRY_CONFLICT"),
                rejected(4, "NEW1", "serial", conflict, "REGISTRY_CONFLICT"),
                rejected(6, "NEW2", "model", "no such product", "NOT_FOUND"),
                rejected(
                    7,
                    "N",
                    "serial",
                    "a serial has 4 to 40 letters and digits; spaces and hyphens do not count; manufactured_date: is required",
                    "INVALID_FIELDS"
                ),
                rejected(8, "NEW3", "ex_factory_date", "must not lie before manufactured_date", "INVALID_FIELDS"),
                rejected(9, "NEW4", "refurbished_from", "no such unit", "NOT_FOUND"),
                rejected(
                    11,
                    "NEW6",
                    "refurbished_from",
                    "a unit was refurbished under another serial before",
                    "REGISTRY_CONFLICT"
                ),
            ],
        }
    );
    let kept = staff.registry.get_unit(GetUnitRequest { serial: "NEW1".into() }).await.unwrap().into_inner().unit;
    assert_eq!(kept, Some(like("NEW1", &|unit| unit.lot = "a\\b".into())));
    let kept = staff.registry.get_unit(GetUnitRequest { serial: "NEW7".into() }).await.unwrap().into_inner().unit;
    assert_eq!(kept, Some(like("NEW7", &|unit| unit.refurbished_from = "THERE1".into())));
    let recorded = count(&mut world.owner().await, &format!("units WHERE recorded_at = '{before}'")).await;
    assert_eq!(recorded, 4, "each is recorded at its moment");

    let again = import_units(&mut staff, rows).await;
    assert_eq!((again.created_count, again.unchanged_count, again.rejected_count), (0, 5, 7));
}

/// Units UNIT1 to UNIT5, the contract C1, and sales of D1: THERE1, and BACK1 whose goods came back.
async fn with_sales() -> World {
    let world = World::stocked().await;
    for serial in ["UNIT1", "UNIT2", "UNIT3", "UNIT4", "UNIT5"] {
        world.unit(serial).await;
    }
    world.sold("THERE1", 5).await;
    world.sold("BACK1", 5).await;
    let mut owner = world.owner().await;
    sqlx::query("UPDATE sales SET cancelled = true WHERE serial = 'BACK1'").execute(&mut owner).await.unwrap();
    let contract = CreateContractRequest {
        request_id: id(),
        contract_number: "C1".into(),
        terms: Some(ContractTerms { repair_months: Some(24), ..Default::default() }),
    };
    world.staff().registry.create_contract(contract).await.unwrap();
    world
}

fn by(dealer: &str, sale: ImportedSale) -> ImportedSale {
    ImportedSale { dealer_id: dealer.into(), ..sale }
}

const SOLD: &str = "a sale of the unit is registered already";

#[tokio::test(flavor = "multi_thread")]
async fn sales_that_agree_with_the_registry_are_kept_and_none_is_corrected() {
    let world = with_sales().await;
    let there = ImportedSale {
        sold_date: Some(world.today(-5)),
        invoice_number: "F-THERE1".into(),
        region: "CN-GD".into(),
        ..sale("THERE1")
    };
    let rows = vec![
        by("D1", sale("UNIT1")),
        by("D1", sale("unit-1")),
        by("D2", sale("UNIT1")),
        by("D1", ImportedSale { contract_number: "C1".into(), model: "PS-1".into(), ..sale("UNIT2") }),
        by("D1", ImportedSale { model: "PS-2".into(), ..sale("UNIT3") }),
        by("D9", sale("UNIT3")),
        by("D1", ImportedSale { contract_number: "C9".into(), ..sale("UNIT3") }),
        by("D1", ImportedSale { sold_date: Some(date("2026-01-09")), ..sale("UNIT3") }),
        by("", ImportedSale { sold_date: Some(world.today(1)), ..sale("UNIT3") }),
        by("D1", sale("NOWHERE")),
        by("D1", there),
        by("D1", sale("THERE1")),
    ];
    let told = import_sales(&mut world.staff(), rows.clone()).await.unwrap();
    let bad_input = "is required; sold_date: must not be in the future";
    assert_eq!(
        told,
        ImportSalesResponse {
            row_count: 12,
            created_count: 2,
            unchanged_count: 2,
            rejected_count: 8,
            rejected: vec![
                rejected(3, "UNIT1", "serial", SOLD, "REGISTRY_CONFLICT"),
                rejected(5, "UNIT3", "model", "the unit is of model PS-1", "MODEL_MISMATCH"),
                rejected(6, "UNIT3", "dealer_id", "no such dealer", "NOT_FOUND"),
                rejected(7, "UNIT3", "contract_number", "no such contract", "NOT_FOUND"),
                rejected(8, "UNIT3", "sold_date", "must not lie before the unit was manufactured", "INVALID_FIELDS"),
                rejected(9, "UNIT3", "dealer_id", bad_input, "INVALID_FIELDS"),
                rejected(10, "NOWHERE", "serial", "no such unit", "NOT_FOUND"),
                rejected(12, "THERE1", "serial", SOLD, "REGISTRY_CONFLICT"),
            ],
        }
    );
    let again = import_sales(&mut world.staff(), rows).await.unwrap();
    assert_eq!((again.created_count, again.unchanged_count, again.rejected_count), (0, 4, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_whose_sale_was_cancelled_is_sold_again() {
    let world = with_sales().await;
    let told = import_sales(&mut world.staff(), vec![by("D2", sale("BACK1"))]).await.unwrap();
    assert_eq!(told.created_count, 1);
    let versions: Vec<(i64, String, bool, bool, String)> = sqlx::query_as(
        "SELECT version, dealer_id, cancelled, superseded_at = 'infinity', recorded_by
           FROM sales WHERE serial = 'BACK1' ORDER BY version",
    )
    .fetch_all(&mut world.owner().await)
    .await
    .unwrap();
    let version =
        |number, dealer: &str, cancelled, current, by: &str| (number, dealer.into(), cancelled, current, by.into());
    assert_eq!(versions, [version(1, "D1", true, false, "dealer/D1"), version(2, "D2", false, true, "staff/S1")]);
}

/// It does not know of contracts: its sale is the same whatever the maker put it under.
#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_imports_its_own_sales_while_it_is_active() {
    let world = with_sales().await;
    let (mut staff, mut dealer) = (world.staff(), world.dealer("D1"));
    let under = by("D1", ImportedSale { contract_number: "C1".into(), ..sale("UNIT2") });
    import_sales(&mut staff, vec![under, by("D2", sale("UNIT3"))]).await.unwrap();
    let rows = vec![
        sale("UNIT2"),
        sale("UNIT4"),
        sale("UNIT3"),
        by("D2", sale("UNIT5")),
        ImportedSale { contract_number: "C1".into(), ..sale("UNIT5") },
    ];
    let left_out = "must be left out: the maker's staff put a sale under a contract";
    assert_eq!(
        import_sales(&mut dealer, rows.clone()).await.unwrap(),
        ImportSalesResponse {
            row_count: 5,
            created_count: 1,
            unchanged_count: 1,
            rejected_count: 3,
            rejected: vec![
                rejected(3, "UNIT3", "serial", SOLD, "REGISTRY_CONFLICT"),
                rejected(4, "UNIT5", "dealer_id", "must be the caller's own", "INVALID_FIELDS"),
                rejected(5, "UNIT5", "contract_number", left_out, "INVALID_FIELDS"),
            ],
        }
    );
    let status = DealerStatus::Suspended.into();
    let suspend = SetDealerStatusRequest { request_id: id(), dealer_id: "D1".into(), status, ..Default::default() };
    staff.registry.set_dealer_status(suspend).await.unwrap();
    let refused = import_sales(&mut dealer, rows).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "DEALER_NOT_ACTIVE".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_through_the_stream_and_a_reply_holds_a_thousand_rejected_ones() {
    let world = World::stocked().await;
    let mut rows = units(0, 15_000);
    rows[2000..4500].iter_mut().for_each(|unit| unit.model = "PS-9".into());
    rows[14_999].serial = "X".repeat(100);
    let (told, ended) = all(world.staff().registry.import_units(messages(rows)).await.unwrap().into_inner()).await;
    ended.unwrap();
    let seen: Vec<_> = told.iter().map(|reply| (reply.row_count, reply.rejected_count, reply.rejected.len())).collect();
    let last = told.last().unwrap();
    assert_eq!(seen[..2], [(3000, 1000, 1000), (4000, 2000, 1000)]);
    assert_eq!(seen.iter().map(|(_, _, rejected)| rejected).sum::<usize>(), 2501);
    assert_eq!((last.row_count, last.created_count, last.rejected_count), (15_000, 12_499, 2501));
    let numbers: Vec<i64> = told.iter().flat_map(|reply| &reply.rejected).map(|row| row.row).collect();
    assert_eq!(numbers, (2001..=4500).chain([15_000]).collect::<Vec<_>>());
    assert_eq!(last.rejected.last().unwrap().serial, "X".repeat(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_too_many_rows_ends_the_import_and_what_came_before_is_kept() {
    let world = World::stocked().await;
    let sent = [units(0, 1000), units(1000, 1001), units(5000, 1)].map(|units| ImportUnitsRequest { units });
    let replies = world.staff().registry.import_units(stream::iter(sent)).await.unwrap().into_inner();
    let (told, ended) = all(replies).await;
    assert_eq!(refusal(&ended.unwrap_err()), (Code::ResourceExhausted, "TOO_LARGE".into()));
    assert_eq!(told.last().map(|reply| reply.created_count), Some(1000));
    assert_eq!(count(&mut world.owner().await, "units").await, 1000);
}

// ---- back-pressure, and who comes at the same time

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_while_a_group_waits_and_the_next_is_full() {
    let world = World::stocked().await;
    let mut owner = world.owner().await;
    let mut held = owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE units IN EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let (rows, outgoing) = mpsc::channel(1);
    let replies = world.staff().registry.import_units(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let mut sent = 0;
    // Two groups, and what the connection itself holds; far from all of these.
    while sent < 200 {
        let message = ImportUnitsRequest { units: units(sent * 1000, 1000) };
        match timeout(Duration::from_secs(2), rows.send(message)).await {
            Ok(sending) => sending.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!((20..100).contains(&sent), "{sent} messages were taken");
    held.rollback().await.unwrap();
    drop(rows);
    let (told, ended) = all(replies).await;
    ended.unwrap();
    let created = i64::try_from(sent * 1000).unwrap();
    assert_eq!(told.last().map(|reply| reply.created_count), Some(created));
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_the_same_rows_at_once_keep_each_row_once() {
    let world = World::stocked().await;
    let total = 20_000;
    let imports = (0..3).map(|turn| {
        let mut caller = world.staff();
        let mut rows = units(0, total);
        if turn == 1 {
            rows.reverse();
        }
        rows.drain(..turn * 700);
        async move { import_units(&mut caller, rows).await }
    });
    let done = futures::future::join_all(imports).await;
    let created: i64 = done.iter().map(|told| told.created_count).sum();
    assert_eq!(created, 20_000);
    for (turn, told) in done.iter().enumerate() {
        assert_eq!((told.row_count, told.rejected_count), (20_000 - 700 * turn as i64, 0));
    }
    assert_eq!(count(&mut world.owner().await, "units").await, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_whole_groups() {
    let world = World::stocked().await;
    let mut owner = world.owner().await;
    for (round, wait) in [Some(0), Some(40), Some(120), Some(300), None].into_iter().enumerate() {
        let from = round * 100_000;
        let replies = world.staff().registry.import_units(messages(units(from, 60_000))).await.unwrap();
        let mut replies = replies.into_inner();
        match wait {
            Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            None => assert!(replies.message().await.unwrap().is_some(), "a group is acknowledged"),
        }
        drop(replies);
        // What was under way ends by itself.
        let database = world.url.rsplit_once('/').unwrap().1;
        let busy = format!(
            "pg_stat_activity WHERE datname = '{database}' AND application_name = 'warranty-coverage' AND state <> 'idle'"
        );
        until("nothing is under way", async || count(&mut owner, &busy).await == 0).await;
        let kept: Vec<(String,)> = sqlx::query_as("SELECT serial FROM units WHERE serial >= $1 ORDER BY serial")
            .bind(format!("UNIT{from:07}"))
            .fetch_all(&mut owner)
            .await
            .unwrap();
        let first: Vec<(String,)> = units(from, kept.len()).into_iter().map(|unit| (unit.serial,)).collect();
        assert_eq!(kept, first, "the rows from the first on");
        assert_eq!(kept.len() % 1000, 0, "whole groups of whole messages");
        assert!(wait.is_some() || (1..60_000).contains(&kept.len()), "{} kept: half way", kept.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_by_the_database_are_told_as_unavailable_and_the_rows_can_be_sent_again() {
    let world = World::stocked().await;
    let mut owner = world.owner().await;
    let rows = units(0, 30_000);
    let replies = world.staff().registry.import_units(messages(rows.clone())).await.unwrap().into_inner();
    until("a first group is kept", async || count(&mut owner, "units").await > 0).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'warranty-coverage' AND state <> 'idle'";
    until("a group is cut off in the middle", async || {
        let cut: Vec<(bool,)> = sqlx::query_as(cut).fetch_all(&mut owner).await.unwrap();
        !cut.is_empty()
    })
    .await;
    let (told, ended) = all(replies).await;
    assert_eq!(refusal(&ended.unwrap_err()), (Code::Unavailable, "DATABASE_AWAY".into()));
    let acknowledged = told.last().map_or(0, |reply| reply.created_count);
    let kept = count(&mut owner, "units").await;
    assert!(acknowledged <= kept && kept < 30_000, "{acknowledged} acknowledged, {kept} kept");
    let again = import_units(&mut world.staff(), rows).await;
    assert_eq!((again.created_count, again.unchanged_count), (30_000 - kept, kept));
}

// ---- the command line, and a service that is killed

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("import-{}", Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn token(world: &World) -> String {
    let hour = chrono::Duration::hours(1);
    let staff = Actor::Staff("S1".into());
    let scopes = "registry.write sales.write";
    world.issuer.mint(&staff, scopes, hour, ISSUER, AUDIENCE, world.clock.now()).unwrap()
}

fn command(world: &World, address: std::net::SocketAddr, what: &str, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
    command
        .args(["import", what, file.to_str().unwrap(), "--coverage-address", &format!("http://{address}")])
        .env("WARRANTY_TOKEN", token(world))
        .kill_on_drop(true);
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), format!("{err}{out}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_imported_and_what_was_not_taken_can_be_mended_and_sent_again() {
    let world = World::stocked().await;
    let folder = folder();
    let file = folder.join("units.csv");
    let lines = [
        "\u{FEFF}model,serial,manufactured_date,ex_factory_date,sold_by_maker,lot",
        "PS-1,VT-0001,2020-01-10,2020-01-20,true,\"lot, with a comma\"",
        "PS-1,VT-0002,2020-01-10,20.1.2020,true,",
        "PS-9,VT-0003,2020-01-10,2020-01-20,false,",
        "PS-1,VT-0004,2020-01-10,2020-01-20",
        "PS-1,VT-0005,2020-01-10,2020-01-20,yes,\"two",
        "lines\"",
        "PS-1,VT-0006,2020-01-10,2020-01-20,true,",
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = command(&world, world.coverage, "units", &file).output().await.unwrap();
    let (code, told) = said(&output);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("6 rows: 2 new, 0 there before, 4 rejected; "), "{told}");
    let rejected = folder.join("units.rejected.csv");
    let mut told: Vec<String> = std::fs::read_to_string(&rejected).unwrap().lines().map(str::to_owned).collect();
    told[1..].sort();
    assert_eq!(
        told,
        [
            "line,field,rule,reason,model,serial,manufactured_date,ex_factory_date,sold_by_maker,lot",
            "3,ex_factory_date,must be a date: 2026-01-31,INVALID_FIELDS,PS-1,VT-0002,2020-01-10,20.1.2020,true,",
            "4,model,no such product,NOT_FOUND,PS-9,VT-0003,2020-01-10,2020-01-20,false,",
            "5,,\"the row has 4 columns, the first row 6\",INVALID_FIELDS,PS-1,VT-0004,2020-01-10,2020-01-20",
            "6,sold_by_maker,must be true or false,INVALID_FIELDS,PS-1,VT-0005,2020-01-10,2020-01-20,yes,\"two",
            "lines\"",
        ]
    );

    let mended = std::fs::read_to_string(&rejected).unwrap();
    let mended = mended.replace("20.1.2020", "2020-01-20").replace("PS-9", "PS-2").replace("\"two\nlines\"", "L1");
    let mended =
        mended.replace("VT-0004,2020-01-10,2020-01-20", "VT-0004,2020-01-10,2020-01-20,true,").replace("yes", "true");
    std::fs::write(&rejected, mended).unwrap();
    let output = command(&world, world.coverage, "units", &rejected).output().await.unwrap();
    let (code, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("4 rows: 4 new, 0 there before, 0 rejected; "), "{told}");
    assert_eq!(count(&mut world.owner().await, "units WHERE serial LIKE 'VT000%'").await, 6);

    let sales = folder.join("sales.csv");
    std::fs::write(&sales, "serial,dealer_id,sold_date,region\nVT0001,D1,2026-06-01,CN-GD\nVT0002,D1,2026-06-01,\n")
        .unwrap();
    let mut stdin = command(&world, world.coverage, "sales", Path::new("-"));
    stdin.stdin(std::fs::File::open(&sales).unwrap());
    let (code, told) = said(&stdin.output().await.unwrap());
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(count(&mut world.owner().await, "sales WHERE dealer_id = 'D1'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_imported_is_told_in_one_sentence() {
    let world = World::start().await;
    let file = folder().join("sales.csv");
    let must = "the first row must name the columns serial, sold_date, and may name dealer_id, invoice_number, \
                warranty_card_number, region, contract_number, model";
    for (what, text, told) in [
        ("sales", "serial,date,dealer\n", format!("{must}; unknown: date, dealer; missing: sold_date\n")),
        ("sales", "", format!("{must}; missing: serial, sold_date\n")),
        ("sales", "serial,sold_date,serial\n", "the first row names a column twice\n".to_owned()),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = command(&world, world.coverage, what, &file).output().await.unwrap();
        assert_eq!(said(&output), (Some(1), format!("warranty: {told}")));
    }
    let output = command(&world, world.coverage, "units", Path::new("/nowhere")).output().await.unwrap();
    let told = "warranty: cannot read /nowhere: No such file or directory (os error 2)\n";
    assert_eq!(said(&output), (Some(1), told.to_owned()));
    std::fs::write(&file, "serial,sold_date\nUNIT1,2026-06-01\n").unwrap();
    let mut refused = command(&world, world.coverage, "sales", &file);
    let (code, told) = said(&refused.env("WARRANTY_TOKEN", "none").output().await.unwrap());
    assert_eq!(code, Some(1));
    assert!(told.contains("reason TOKEN_REFUSED"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_half_way_loses_nothing_acknowledged_and_doubles_nothing() {
    let world = real_time().await;
    let mut owner = world.owner().await;
    let total = 60_000;
    let there = count(&mut owner, "units").await;
    let mut process = Process::start(&world, "coverage", &world.url, &[]).await;
    let bearer = world.bearer(&Actor::Staff("S1".into()), "registry.write");
    let mut client = RegistryServiceClient::with_interceptor(channel(process.address), bearer);
    let mut replies = client.import_units(messages(units(0, total))).await.unwrap().into_inner();
    let first = timeout(PATIENCE, replies.message()).await.unwrap().unwrap().unwrap();
    process.child.kill().await.unwrap();
    let mut acknowledged = first.created_count;
    while let Ok(Some(reply)) = replies.message().await {
        acknowledged = reply.created_count;
    }
    let kept = count(&mut owner, "units").await - there;
    assert!(0 < acknowledged && acknowledged <= kept && kept < 60_000, "{acknowledged} acknowledged, {kept} kept");
    assert_eq!(kept % 1000, 0, "whole groups");

    let process = Process::start(&world, "coverage", &world.url, &[]).await;
    let file = folder().join("units.csv");
    std::fs::write(&file, csv(total)).unwrap();
    let output = command(&world, process.address, "units", &file).output().await.unwrap();
    let (code, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(&format!("60000 rows: {} new, {kept} there before, 0 rejected", 60_000 - kept)), "{told}");
    assert_eq!(count(&mut owner, "units").await, there + 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_goes_on_by_itself_when_the_service_is_back() {
    let world = real_time().await;
    let mut owner = world.owner().await;
    let there = count(&mut owner, "units").await;
    let mut process = Process::start(&world, "coverage", &world.url, &[]).await;
    let address = process.address;
    let file = folder().join("units.csv");
    std::fs::write(&file, csv(60_000)).unwrap();
    let mut import = command(&world, process.address, "units", &file);
    import.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let import = import.spawn().unwrap();
    until("a first group is kept", async || count(&mut owner, "units").await > there).await;
    process.child.kill().await.unwrap();
    let kept = count(&mut owner, "units").await - there;
    assert!(0 < kept && kept < 60_000, "{kept} kept: half way");
    let _process = Process::start_at(address, &world, "coverage", &world.url, &[]).await;
    let output = timeout(PATIENCE, import.wait_with_output()).await.unwrap().unwrap();
    let (code, told) = said(&output);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("; trying again\n") && told.contains("60000 rows: "), "{told}");
    assert_eq!(count(&mut owner, "units").await, there + 60_000);
}

fn csv(rows: usize) -> String {
    let rows = units(0, rows).into_iter().map(|unit| format!("{},PS-1,2020-01-10,2020-01-20,true\n", unit.serial));
    let header = "serial,model,manufactured_date,ex_factory_date,sold_by_maker\n".to_owned();
    header + &rows.collect::<String>()
}

/// Sales, corrections, cancellations and imports of the same units at once; then what stands with each unit is its current sale.
#[tokio::test(flavor = "multi_thread")]
async fn the_current_sale_stands_with_its_unit_whatever_races() {
    let world = World::stocked().await;
    let serials: Vec<String> = (0..6).map(|at| format!("RACE{at:04}")).collect();
    for serial in &serials {
        world.unit(serial).await;
    }
    let writers = (0..4_usize).map(|writer| {
        let (mut staff, serials) = (world.staff(), serials.clone());
        async move {
            let mut done = 0;
            for round in 0..24 {
                let serial = &serials[(round + writer) % serials.len()];
                let sold_date = Some(date(&format!("2026-0{}-0{}", 2 + round % 4, 1 + writer)));
                let region = if round % 3 == 0 { String::new() } else { "CN-SH".into() };
                let outcome = match (writer + round) % 4 {
                    0 => {
                        let rows = serials.iter().map(|serial| ImportedSale {
                            sold_date,
                            dealer_id: "D1".into(),
                            region: region.clone(),
                            ..sale(serial)
                        });
                        import_sales(&mut staff, rows.collect()).await.map(|told| told.created_count > 0)
                    }
                    1 => {
                        let (request_id, reason) = (id(), "returned".to_owned());
                        let request = CancelSaleRequest { request_id, serial: serial.clone(), version: 0, reason };
                        staff.registry.cancel_sale(request).await.map(|_| true)
                    }
                    new_or_corrected => {
                        let request = |version| RegisterSaleRequest {
                            request_id: id(),
                            serial: serial.clone(),
                            dealer_id: "D2".into(),
                            sold_date,
                            invoice_number: if round % 2 == 0 { format!("F-{round}") } else { String::new() },
                            region: region.clone(),
                            version,
                            ..Default::default()
                        };
                        match (staff.registry.register_sale(request(0)).await, new_or_corrected) {
                            (Err(_), 3) => {
                                let asked = ListSaleVersionsRequest { serial: serial.clone() };
                                let versions = staff.registry.list_sale_versions(asked).await.unwrap().into_inner();
                                let current = versions.versions.last().map_or(0, |version| version.version);
                                staff.registry.register_sale(request(current)).await.map(|_| true)
                            }
                            (outcome, _) => outcome.map(|_| true),
                        }
                    }
                };
                done += usize::from(outcome.unwrap_or(false));
            }
            done
        }
    });
    let done: usize = futures::future::join_all(writers).await.into_iter().sum();
    assert!(done > 24, "only {done} writes were taken");
    let mut owner = world.owner().await;
    let astray: Vec<String> = sqlx::query_scalar(
        "SELECT serial FROM units u LEFT JOIN sale_facts s USING (serial)
          WHERE (u.sold_on, u.has_invoice, u.sale_region, u.contract_number)
                IS DISTINCT FROM (s.sold_on, s.has_invoice, s.region, s.contract_number)",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(astray, [""; 0]);
    let half_a_sale = sqlx::query("UPDATE units SET sold_on = NULL, has_invoice = true").execute(&mut owner).await;
    assert!(half_a_sale.unwrap_err().to_string().contains("units_sold_or_not"));
}
