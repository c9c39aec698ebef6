//! Coverage from a real streaming replica, for callers who name how old its facts may be; stale, it is not asked.

use std::time::{Duration, Instant};

use futures::StreamExt;

use sqlx::{Connection, PgConnection};
use warranty::{contract::v1::*, local::postgres::Cluster, store};

use crate::world::{World, fresh_database, id, violations};

/// A primary with a replica of its own, and a world on it.
struct Pair {
    world: World,
    replica: PgConnection,
    _clusters: (Cluster, Cluster),
}

impl Pair {
    async fn start() -> Self {
        let primary = tokio::task::spawn_blocking(|| Cluster::start_throwaway().unwrap()).await.unwrap();
        store::migrate(primary.url()).await.unwrap();
        let (primary, copy) = tokio::task::spawn_blocking(move || {
            let copy = primary.start_replica().unwrap();
            (primary, copy)
        })
        .await
        .unwrap();
        let world = World::over(primary.url().to_owned(), Some(copy.url())).await.with_stock().await;
        let replica = PgConnection::connect(copy.url()).await.unwrap();
        Self { world, replica, _clusters: (primary, copy) }
    }

    /// Stops the replica's replay, and sees that it has stopped.
    async fn pause(&mut self) {
        sqlx::query("SELECT pg_wal_replay_pause()").execute(&mut self.replica).await.unwrap();
        while self.ask("SELECT pg_get_wal_replay_pause_state()").await != "paused" {}
    }

    async fn resume(&mut self) {
        sqlx::query("SELECT pg_wal_replay_resume()").execute(&mut self.replica).await.unwrap();
    }

    async fn ask(&mut self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&mut self.replica).await.unwrap()
    }
}

impl Pair {
    /// What CheckCoverage says of the sale when facts may be so old: by its model, and how long ago it is as of.
    async fn asked(&self, serial: &str, seconds: i64) -> (String, i64) {
        let request = CheckCoverageRequest { max_staleness: Some(seconds_of(seconds)), ..asked(serial) };
        let answer = self.world.dealer("D1").coverage.check_coverage(request).await.unwrap().into_inner();
        (first_day(&answer), self.age(answer.data_as_of_time))
    }

    /// Milliseconds before the world's clock, which stands.
    fn age(&self, as_of: Option<prost_types::Timestamp>) -> i64 {
        let as_of = as_of.unwrap();
        let as_of = chrono::DateTime::from_timestamp(as_of.seconds, as_of.nanos as u32).unwrap();
        (self.world.clock.now() - as_of).num_milliseconds()
    }

    /// Corrects the sale's day, `days` ago.
    async fn correct(&self, serial: &str, days: i64) {
        let sold = RegisterSaleRequest {
            request_id: id(),
            serial: serial.into(),
            sold_date: Some(self.world.today(-days)),
            invoice_number: format!("F-{serial}"),
            region: "CN-GD".into(),
            version: 1,
            ..Default::default()
        };
        self.world.dealer("D1").registry.register_sale(sold).await.unwrap();
    }
}

fn seconds_of(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn asked(serial: &str) -> CheckCoverageRequest {
    CheckCoverageRequest { serial: serial.into(), ..Default::default() }
}

/// The first day of the first window: the day of the sale.
fn first_day(answer: &CheckCoverageResponse) -> String {
    let decision = answer.decision.as_ref().unwrap();
    let first = decision.windows.first().and_then(|window| window.first_date).unwrap();
    format!("{}-{:02}-{:02}", first.year, first.month, first.day)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_answers_within_the_age_that_the_caller_names_and_else_the_primary() {
    let mut pair = Pair::start().await;
    pair.world.sold("REPLICA1", 3).await;
    let (before, after) = ("2026-06-12", "2026-06-10");
    // Caught up, it answers: its facts are of a moment that was proven, not of now.
    let replica_answers = async {
        loop {
            let (day, age) = pair.asked("REPLICA1", 30).await;
            assert!(age <= 30_000, "{age}");
            if age > 0 && day == before {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replica_answers).await.unwrap();

    pair.pause().await;
    pair.correct("REPLICA1", 5).await;
    let written = Instant::now();
    // The fault hit: the replica has not replayed what the primary wrote.
    let replayed = pair.ask("SELECT pg_last_wal_replay_lsn()::text").await;
    let behind = "SELECT pg_current_wal_insert_lsn() > $1::pg_lsn";
    let behind: bool =
        sqlx::query_scalar(behind).bind(&replayed).fetch_one(&mut pair.world.owner().await).await.unwrap();
    assert!(behind);
    // Who takes facts of ten minutes has the replica's; its age is told.
    let (day, age) = pair.asked("REPLICA1", 600).await;
    assert_eq!(day, before);
    assert!(age > 0 && age <= 600_000, "{age}");
    // Once that is a second ago, who takes no older facts has the primary's; and so has who names no age at all.
    while written.elapsed() <= Duration::from_secs(1) {
        assert_eq!(pair.asked("REPLICA1", 600).await.0, before);
    }
    assert_eq!(pair.asked("REPLICA1", 1).await, (after.to_owned(), 0));
    assert_eq!(pair.asked("REPLICA1", 0).await, (after.to_owned(), 0));
    let fresh = pair.world.dealer("D1").coverage.check_coverage(asked("REPLICA1")).await.unwrap().into_inner();
    assert_eq!((first_day(&fresh), pair.age(fresh.data_as_of_time)), (after.to_owned(), 0));
    // A unit that it does not know yet is the primary's to tell.
    pair.world.sold("REPLICA2", 3).await;
    assert_eq!(pair.asked("REPLICA2", 600).await, (before.to_owned(), 0));

    // A batch and a stream say it, too.
    let batch = async |seconds| {
        let requests = vec![asked("REPLICA1")];
        let request =
            BatchCheckCoverageRequest { requests, max_staleness: Some(seconds_of(seconds)), ..Default::default() };
        let answer = pair.world.dealer("D1").coverage.batch_check_coverage(request).await.unwrap().into_inner();
        let Some(coverage_result::Result::Answer(told)) = &answer.results[0].result else { panic!("{answer:?}") };
        (first_day(told), pair.age(answer.data_as_of_time))
    };
    let (day, old) = batch(600).await;
    assert!(day == before && old > 1_000, "{day} {old}");
    assert_eq!(batch(1).await, (after.to_owned(), 0));
    let question = |seconds| StreamCoverageRequest {
        correlation_id: String::new(),
        request: Some(CheckCoverageRequest { max_staleness: Some(seconds_of(seconds)), ..asked("REPLICA1") }),
    };
    let questions = tokio_stream::iter([question(600), question(1)]);
    let answers = pair.world.dealer("D1").coverage.stream_coverage(questions).await.unwrap().into_inner();
    let mut told: Vec<(String, bool)> = Vec::new();
    for answer in answers.map(Result::unwrap).collect::<Vec<_>>().await {
        let Some(coverage_result::Result::Answer(one)) = answer.result.unwrap().result else { panic!() };
        told.push((first_day(&one), pair.age(answer.data_as_of_time) > 1_000));
    }
    told.sort();
    assert_eq!(told, [(after.to_owned(), false), (before.to_owned(), true)]);

    // It catches up, and answers within a second again.
    pair.resume().await;
    let caught_up = async {
        loop {
            let (day, age) = pair.asked("REPLICA1", 1).await;
            assert_eq!(day, after);
            if age > 0 {
                assert!(age <= 1_000, "{age}");
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), caught_up).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_away_costs_nobody_an_answer_and_its_age_has_bounds() {
    let world =
        World::over(fresh_database().await, Some("postgres://nobody@127.0.0.1:1/none")).await.with_stock().await;
    world.sold("REPLICA3", 3).await;
    let mut dealer = world.dealer("D1");
    let mut ask = async |seconds| {
        let request = CheckCoverageRequest { max_staleness: Some(seconds_of(seconds)), ..asked("REPLICA3") };
        dealer.coverage.check_coverage(request).await
    };
    assert_eq!(first_day(ask(600).await.unwrap().get_ref()), "2026-06-12");
    let rule = || vec![("max_staleness".to_owned(), "must be 0 to 600 seconds".to_owned())];
    assert_eq!(violations(&ask(601).await.unwrap_err()), rule());
    assert_eq!(violations(&ask(-1).await.unwrap_err()), rule());
}
