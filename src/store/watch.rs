//! The feed of events over all claims, and of logistics events between them, read in its order with nothing missed.
//!
//! Numbers are drawn in order, but transactions commit in another, and one that rolls back leaves a gap. Whoever draws a number
//! has an xid by then (he holds the claim's row, inserted it, or changed another), so a gap is final once every xid that was given out when a
//! later number was seen has ended: then a row that is still not there never comes. NOTIFY is a hint to look sooner, never
//! inside the transaction that writes: such commits would wait for each other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{
    FromRow, PgConnection, PgPool, Row,
    postgres::{PgListener, PgRow},
};
use uuid::Uuid;

use super::{Role, claims::StoredEvent, error::Result, pool_to};
use crate::domain::{actor::Actor, serial::Serial};

/// Numbers looked through in one transaction of a caller's: one who sees few of them still gets on.
const WINDOW: i64 = 20_000;
/// Events read at once.
pub const PAGE: usize = 500;

/// What happened: to a claim, or in logistics.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Nearly all of the feed is the large one.
pub enum Happened {
    /// To a claim.
    Claim(StoredEvent),
    /// In logistics.
    Logistics(LogisticsEvent),
}

/// What happened in logistics and no claim tells; triggers write it.
#[derive(Clone, Debug, FromRow)]
pub struct LogisticsEvent {
    /// What, by name.
    pub kind: String,
    /// Its facts.
    pub facts: Value,
    /// The parcel.
    pub shipment_id: Option<Uuid>,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
}

impl Happened {
    /// When.
    pub fn recorded_at(&self) -> DateTime<Utc> {
        match self {
            Self::Claim(event) => event.recorded_at,
            Self::Logistics(event) => event.recorded_at,
        }
    }
}

impl FromRow<'_, PgRow> for Happened {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        match row.try_get::<Option<String>, _>("kind")? {
            None => StoredEvent::from_row(row).map(Self::Claim),
            Some(_) => LogisticsEvent::from_row(row).map(Self::Logistics),
        }
    }
}

/// Both feeds as one, by number. Each is read in its own order, and `$limit` of each suffice.
macro_rules! both {
    ($columns:literal, $claims:literal, $logistics:literal, $limit:literal) => {
        concat!(
            "SELECT *", $columns, " FROM (
                (SELECT feed, claim_id, serial, dealer_id, customer_id, sequence, facts, e.state, recorded_at, actor,
                        NULL::text AS kind, NULL::uuid AS shipment_id
                   FROM claim_events e JOIN claims USING (claim_id) WHERE ", $claims, " ORDER BY feed LIMIT ", $limit, ")
                UNION ALL
                (SELECT feed, claim_id, serial, dealer_id, customer_id, NULL, facts, NULL, recorded_at, actor, kind, shipment_id
                   FROM logistics_events WHERE ", $logistics, " ORDER BY feed LIMIT ", $limit, ")) both_feeds
              ORDER BY feed LIMIT ", $limit
        )
    };
}

/// An event of the feed, with what tells who may see it.
#[derive(Clone, Debug, FromRow)]
pub struct Watched {
    /// Its number in the feed.
    pub feed: i64,
    /// The claim.
    pub claim_id: Option<Uuid>,
    /// Its unit, or another that it is about.
    pub serial: Option<String>,
    /// The dealer who filed it, or whose parcel or debt it is.
    pub dealer_id: Option<String>,
    /// The customer it is for, or whose parcel it is.
    pub customer_id: Option<Uuid>,
    /// What happened.
    #[sqlx(flatten)]
    pub event: Happened,
}

/// How far the feed is final, and what is known about the gap behind that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Safe {
    /// Nothing appears at this number or before any more.
    pub at: i64,
    /// Up to this number everything is final once every xid before this one has ended.
    barrier: Option<(i64, i64)>,
}

impl Safe {
    /// Takes what is final of the `numbers` that were seen after `at`, in order; gives how many that are. `oldest` is the first
    /// xid that had not ended in the same snapshot. The second is the number up to which a barrier is to be set.
    fn take(&mut self, numbers: &[i64], oldest: i64) -> (usize, Option<i64>) {
        let passed = self.barrier.filter(|(_, xid)| oldest >= *xid).map_or(0, |(up_to, _)| up_to);
        let mut taken = 0;
        for number in numbers {
            if *number > passed && *number != self.at + 1 {
                break;
            }
            (self.at, taken) = (*number, taken + 1);
        }
        self.barrier = self.barrier.filter(|(up_to, _)| *up_to > self.at);
        let gap = taken < numbers.len() && self.barrier.is_none();
        (taken, numbers.last().copied().filter(|_| gap))
    }
}

/// The poller's own connection, under the role that sees the whole feed.
pub struct Feed {
    listener: PgListener,
}

impl Feed {
    /// Connects beside a pool, to the same server.
    pub async fn open(beside: &PgPool) -> Result<Self> {
        let pool = pool_to((*beside.connect_options()).clone(), 1, Role::Watch);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("claim_events").await?;
        Ok(Self { listener })
    }

    /// The newest number, once everything before it is final.
    pub async fn newest(&mut self) -> Result<Safe> {
        let newest =
            "SELECT greatest(0, (SELECT max(feed) FROM claim_events), (SELECT max(feed) FROM logistics_events))";
        let at: i64 = sqlx::query_scalar(newest).fetch_one(&mut self.listener).await?;
        let xid = self.next_xid().await?;
        let oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
        while sqlx::query_scalar::<_, i64>(oldest).fetch_one(&mut self.listener).await? < xid {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Safe { at, barrier: None })
    }

    /// An xid after all that were given out: its own. A snapshot's xmax would not do, for xids after it may be at work.
    async fn next_xid(&mut self) -> Result<i64> {
        let next = "SELECT pg_current_xact_id()::text::bigint";
        Ok(sqlx::query_scalar(next).fetch_one(&mut self.listener).await?)
    }

    /// The next events that are final, in order, none where there are none yet; moves `safe` behind them.
    pub async fn next(&mut self, safe: &mut Safe) -> Result<Vec<Watched>> {
        #[derive(FromRow)]
        struct Seen {
            #[sqlx(flatten)]
            watched: Watched,
            oldest: i64,
        }
        let seen: Vec<Seen> = sqlx::query_as(both!(
            ", pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest",
            "feed > $1",
            "feed > $1",
            "$2"
        ))
        .bind(safe.at)
        .bind(PAGE as i64)
        .fetch_all(&mut self.listener)
        .await?;
        let numbers: Vec<i64> = seen.iter().map(|seen| seen.watched.feed).collect();
        let (taken, gap) = safe.take(&numbers, seen.first().map_or(0, |seen| seen.oldest));
        if let Some(up_to) = gap {
            safe.barrier = Some((up_to, self.next_xid().await?));
        }
        Ok(seen.into_iter().take(taken).map(|seen| seen.watched).collect())
    }

    /// Waits for a hint that there is more, at most until it is time to look anyway: sooner where a gap is waited for.
    pub async fn wait(&mut self, safe: &Safe) -> Result<()> {
        let pause = Duration::from_millis(if safe.barrier.is_some() { 10 } else { 100 });
        match tokio::time::timeout(pause, self.listener.recv()).await {
            Ok(hint) => Ok(hint.map(drop)?),
            Err(_) => Ok(()),
        }
    }
}

/// Hints to every poller that there is more. In a transaction of its own, which nobody waits for.
pub async fn hint(pool: &PgPool) -> Result<()> {
    let hint = "SELECT set_config('synchronous_commit', 'off', false), pg_notify('claim_events', '')";
    sqlx::query(hint).execute(pool).await?;
    Ok(())
}

/// A pool of one connection for hints, beside another and with its settings.
pub fn hints_beside(pool: &PgPool) -> PgPool {
    let server = (*pool.connect_options()).clone().application_name("warranty-hint");
    pool.options().clone().max_connections(1).connect_lazy_with(server)
}

/// Which events someone wants to be told of, of those that he may see.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// For this unit.
    pub serial: Option<Serial>,
    /// Of claims that this dealer filed.
    pub dealer_id: Option<String>,
    /// Events of claims of these types, by name; all where empty.
    pub types: Vec<&'static str>,
    /// Logistics events, too.
    pub logistics: bool,
}

impl Wanted {
    /// Whether an event of the feed is shown to a caller: the one gate between the poller, which sees all, and who watches.
    pub fn shows(&self, actor: &Actor, watched: &Watched) -> bool {
        let wanted = match &watched.event {
            Happened::Claim(stored) => self.types.is_empty() || self.types.contains(&(&stored.event).into()),
            Happened::Logistics(_) => self.logistics,
        };
        wanted
            && actor.may_see(watched.dealer_id.as_deref(), watched.customer_id)
            && self.serial.as_ref().is_none_or(|serial| Some(serial.as_str()) == watched.serial.as_deref())
            && self.dealer_id.as_ref().is_none_or(|dealer| Some(dealer) == watched.dealer_id.as_ref())
    }
}

/// Events after `after` and up to `up_to`, which must be final, that the caller may see and wants: at most a page of them,
/// and how far it got.
pub async fn backlog(
    conn: &mut PgConnection,
    actor: &Actor,
    wanted: &Wanted,
    after: i64,
    up_to: i64,
) -> Result<(Vec<Watched>, i64)> {
    let up_to = up_to.min(after.saturating_add(WINDOW));
    let events: Vec<Watched> = sqlx::query_as(both!(
        "",
        "feed > $1 AND feed <= $2 AND ($3::text IS NULL OR dealer_id = $3) AND ($4::uuid IS NULL OR customer_id = $4)
            AND ($5::text IS NULL OR serial = $5) AND ($6::text IS NULL OR dealer_id = $6)
            AND (cardinality($7::text[]) = 0 OR facts->>'type' = ANY ($7))",
        "$9 AND feed > $1 AND feed <= $2 AND ($3::text IS NULL OR dealer_id = $3) AND ($4::uuid IS NULL OR customer_id = $4)
            AND ($5::text IS NULL OR serial = $5) AND ($6::text IS NULL OR dealer_id = $6)",
        "$8"
    ))
    .bind(after)
    .bind(up_to)
    .bind(actor.dealer_id())
    .bind(actor.customer_id())
    .bind(&wanted.serial)
    .bind(&wanted.dealer_id)
    .bind(&wanted.types)
    .bind(PAGE as i64)
    .bind(wanted.logistics)
    .fetch_all(conn)
    .await?;
    let full = events.len() == PAGE;
    let got = events.last().filter(|_| full).map_or(up_to, |last| last.feed);
    Ok((events, got))
}

/// The last number that was drawn: no cursor that was ever told is after it.
pub async fn last_drawn(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT last_value FROM claim_event_feed").fetch_one(conn).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_passed_when_it_is_filled_or_when_all_that_could_fill_it_has_ended() {
        let mut safe = Safe { at: 4, barrier: None };
        assert_eq!(safe.take(&[5, 6], 90), (2, None));
        // 7 is missing: what was given out by now ends before 100.
        assert_eq!(safe.take(&[8, 10], 90), (0, Some(10)));
        safe.barrier = Some((10, 100));
        assert_eq!(safe.take(&[8, 10], 99), (0, None));
        // It was filled; 9 is still missing, under the same barrier.
        assert_eq!((safe.take(&[7, 8, 10, 12], 99), safe.at), ((2, None), 8));
        // 9 never comes; 11, which was seen missing later, has a barrier of its own.
        assert_eq!((safe.take(&[10, 12], 100), safe.at), ((1, Some(12)), 10));
        safe.barrier = Some((12, 130));
        assert_eq!((safe.take(&[12, 13], 130), safe), ((2, None), Safe { at: 13, barrier: None }));
    }
}
