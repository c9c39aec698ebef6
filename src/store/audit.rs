//! Looks for what was changed behind the system's back: every chain computed again here, not by the database's own function,
//! every claim folded from its events and laid beside its row.

use std::{collections::BTreeMap, fmt};

use chrono::DateTime;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{claims::columns, error::Result};
use crate::domain::{claim::Claim, event::Event};

/// Claims that are read in one transaction.
const PAGE: i64 = 500;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The claim.
    pub claim_id: Uuid,
    /// The event; none where it is the claim's row.
    pub sequence: Option<i64>,
    /// What, as a sentence about it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            Some(sequence) => write!(f, "claim {}, event {sequence}: {}", self.claim_id, self.what),
            None => write!(f, "claim {}: {}", self.claim_id, self.what),
        }
    }
}

/// An event with its decision as stored, nothing understood yet.
#[derive(FromRow)]
struct EventRow {
    claim_id: Uuid,
    sequence: i64,
    feed: i64,
    facts: String,
    state: String,
    /// Microseconds since 1970; none where it is no moment.
    recorded: Option<i64>,
    actor: String,
    hash: Vec<u8>,
    stage: Option<String>,
    remedy: Option<String>,
    policy_version: Option<String>,
    decided_from: Option<String>,
    report: Option<String>,
    decision: Option<String>,
}

impl EventRow {
    /// The hash that `claim_event_hash` of migration 0008 gives.
    fn hash_after(&self, before: &[u8]) -> Vec<u8> {
        let recorded = self.recorded.map(|micros| micros.to_string());
        let numbers = [self.claim_id.to_string(), self.sequence.to_string(), self.feed.to_string()];
        let event = [Some(&self.facts), Some(&self.state), recorded.as_ref(), Some(&self.actor)];
        let [stage, remedy, version] = [&self.stage, &self.remedy, &self.policy_version].map(Option::as_ref);
        let [facts, report, decision] = [&self.decided_from, &self.report, &self.decision].map(Option::as_ref);
        let mut hash = Sha256::new();
        hash.update(before);
        let fields = numbers.iter().map(Some).chain(event).chain([stage, remedy, version, facts, report, decision]);
        for field in fields {
            hash.update(Sha256::digest(field.map_or("", String::as_str)));
        }
        hash.finalize().to_vec()
    }

    /// Whether the decision stored beside the event is the one that it names.
    fn decision_fits(&self, event: &Event) -> bool {
        let named = event.ruling().map(|ruling| {
            [ruling.stage.to_string(), ruling.remedy.to_string(), ruling.policy_version.clone()].map(Some)
        });
        named.unwrap_or_default() == [&self.stage, &self.remedy, &self.policy_version].map(Clone::clone)
    }
}

/// Makes a connection of the owner's ready to read everything, as of one moment for each page. Gives how many claims there are.
pub async fn begin(conn: &mut PgConnection) -> Result<u64> {
    let settings = "SET warranty.caller = 'staff/audit'; SET default_transaction_isolation = 'repeatable read';
                    SET default_transaction_read_only = on";
    conn.execute(settings).await?;
    let claims: i64 = sqlx::query_scalar("SELECT count(*) FROM claims").fetch_one(conn).await?;
    Ok(claims.unsigned_abs())
}

/// Looks at the claims after one, by id. Gives the last that it looked at, how many they were, and what does not fit; none
/// where there are no more.
pub async fn page(conn: &mut PgConnection, after: Uuid) -> Result<Option<(Uuid, u64, Vec<Fault>)>> {
    let mut moment = conn.begin().await?;
    let ids = "SELECT claim_id FROM claims WHERE claim_id > $1 ORDER BY claim_id LIMIT $2";
    let ids: Vec<Uuid> = sqlx::query_scalar(ids).bind(after).bind(PAGE).fetch_all(&mut *moment).await?;
    let Some(last) = ids.last().copied() else { return Ok(None) };
    let events: Vec<EventRow> = sqlx::query_as(
        "SELECT claim_id, e.sequence, feed, e.facts::text AS facts, state, actor, hash, stage, remedy, policy_version,
                CASE WHEN isfinite(recorded_at) THEN (extract(epoch FROM recorded_at) * 1000000)::bigint END AS recorded,
                d.facts::text AS decided_from, report::text AS report, decision::text AS decision
           FROM claim_events e LEFT JOIN claim_decisions d USING (claim_id, sequence)
          WHERE claim_id = ANY ($1) ORDER BY claim_id, e.sequence",
    )
    .bind(&ids)
    .fetch_all(&mut *moment)
    .await?;
    let mut chains: BTreeMap<Uuid, Vec<EventRow>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    for event in events {
        chains.entry(event.claim_id).or_default().push(event);
    }
    let (mut folded, mut faults) = (Vec::new(), Vec::new());
    for (id, chain) in &chains {
        folded.extend(follow(*id, chain, &mut faults));
    }
    faults.extend(rows_apart(&mut moment, &folded).await?);
    faults.extend(records_apart(&mut moment, &ids).await?);
    moment.commit().await?;
    Ok(Some((last, ids.len() as u64, faults)))
}

/// Follows a claim's events. Gives the claim that they fold to; none where one of them cannot be read.
fn follow(id: Uuid, chain: &[EventRow], faults: &mut Vec<Fault>) -> Option<Claim> {
    let (mut before, mut feed, mut claim) = (Vec::new(), 0, None);
    for (number, row) in (1..).zip(chain) {
        let mut fault =
            |what: &str| faults.push(Fault { claim_id: id, sequence: Some(row.sequence), what: what.to_owned() });
        if row.sequence != number {
            fault("an event before it is missing");
            return None;
        }
        if row.hash_after(&before) != row.hash {
            fault("it, its decision or its hash was changed");
        }
        if row.feed <= feed {
            fault("its number in the feed is not after the one before");
        }
        let event: Option<Event> = serde_json::from_str(&row.facts).ok();
        let Some((event, at)) = event.zip(row.recorded.and_then(DateTime::from_timestamp_micros)) else {
            fault("it cannot be read");
            return None;
        };
        if !row.decision_fits(&event) {
            fault("its decision is not the one that it names");
        }
        claim = match claim {
            None => Claim::fold(id, [(event, at)]),
            Some(claim) => Some(Claim::after(claim, event, at)),
        };
        if claim.as_ref().is_none_or(|claim| claim.state_name().to_string() != row.state) {
            fault("it leads to another state than it says");
        }
        (before, feed) = (row.hash.clone(), row.feed);
    }
    if claim.is_none() {
        faults.push(Fault { claim_id: id, sequence: None, what: "its filing is missing".to_owned() });
    }
    claim
}

/// Rows that say something else than their events.
async fn rows_apart(conn: &mut PgConnection, folded: &[Claim]) -> Result<Vec<Fault>> {
    let expected: Vec<Json<Value>> = folded.iter().map(|claim| Json(columns(claim))).collect();
    let apart: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT c.claim_id, string_agg(key, ', ' ORDER BY key)
           FROM unnest($1::jsonb[]) AS expected (columns), jsonb_populate_record(NULL::claims, columns) AS fold
           JOIN claims c USING (claim_id), jsonb_each(to_jsonb(c)) AS stored (key, value)
          WHERE value IS DISTINCT FROM to_jsonb(fold) -> key GROUP BY c.claim_id ORDER BY c.claim_id",
    )
    .bind(expected)
    .fetch_all(conn)
    .await?;
    let fault = |(claim_id, columns)| Fault {
        claim_id,
        sequence: None,
        what: format!("its row is not what its events say: {columns}"),
    };
    Ok(apart.into_iter().map(fault).collect())
}

/// Repairs and replacements that are not what their claims' events say.
async fn records_apart(conn: &mut PgConnection, claims: &[Uuid]) -> Result<Vec<Fault>> {
    let apart: Vec<(Uuid, String)> = sqlx::query_as(
        "WITH events AS (SELECT claim_id, facts ->> 'type' AS type, facts FROM claim_events WHERE claim_id = ANY ($1)),
         told AS (
             SELECT claim_id, jsonb_build_array('repair', facts -> 'completed_on', facts -> 'fault', facts ? 'charge') AS record
               FROM events WHERE type = 'REPAIRED'
             UNION ALL
             SELECT claim_id, jsonb_build_array('replacement', facts -> 'given') FROM events e WHERE type = 'SWAPPED'
                 OR type = 'REPLACED' AND NOT EXISTS (SELECT 1 FROM events s WHERE s.claim_id = e.claim_id AND s.type = 'SWAPPED')),
         stored AS (
             SELECT claim_id, jsonb_build_array('repair', completed_on, fault_code, paid) FROM repairs WHERE claim_id = ANY ($1)
             UNION ALL
             -- One more stands for each unit that was sent in place of a lost one.
             SELECT claim_id, jsonb_build_array('replacement', replacement_serial) FROM replacements r WHERE claim_id = ANY ($1)
                AND NOT EXISTS (SELECT 1 FROM events e WHERE e.claim_id = r.claim_id AND type = 'DISPATCHED'
                                AND facts ->> 'given' = replacement_serial))
         (SELECT claim_id, 'the record is missing: ' || record::text FROM (TABLE told EXCEPT ALL TABLE stored) missing)
         UNION ALL
         (SELECT claim_id, 'its events know of no such record: ' || record::text FROM (TABLE stored EXCEPT ALL TABLE told) AS found (claim_id, record))
         ORDER BY 1, 2",
    )
    .bind(claims)
    .fetch_all(conn)
    .await?;
    Ok(apart.into_iter().map(|(claim_id, what)| Fault { claim_id, sequence: None, what }).collect())
}

/// Events of no claim, and decisions of no event.
pub async fn orphans(conn: &mut PgConnection) -> Result<Vec<Fault>> {
    let orphans: Vec<(Uuid, i64, String)> = sqlx::query_as(
        "SELECT claim_id, sequence, 'its claim is missing' FROM claim_events e
          WHERE NOT EXISTS (SELECT 1 FROM claims c WHERE c.claim_id = e.claim_id)
         UNION ALL
         SELECT claim_id, sequence, 'a decision without its event' FROM claim_decisions d
          WHERE NOT EXISTS (SELECT 1 FROM claim_events e WHERE e.claim_id = d.claim_id AND e.sequence = d.sequence)
         ORDER BY 1, 2, 3",
    )
    .fetch_all(conn)
    .await?;
    let fault = |(claim_id, sequence, what)| Fault { claim_id, sequence: Some(sequence), what };
    Ok(orphans.into_iter().map(fault).collect())
}

/// Quotes, entries of billing's feed, scans and photos that are not what the events of their claims say.
pub async fn apart(conn: &mut PgConnection) -> Result<Vec<Fault>> {
    let apart: Vec<(Uuid, String)> = sqlx::query_as(
        "WITH event AS (SELECT claim_id, sequence, facts ->> 'type' AS type, facts, recorded_at, actor FROM claim_events
                         WHERE facts ->> 'type' IN ('QUOTED', 'QUOTE_ACCEPTED', 'QUOTE_DECLINED', 'QUOTE_EXPIRED', 'REPAIRED', 'PAID', 'LOST_CLOSED',
                                                    'EVIDENCE_ADDED')
                            OR facts ->> 'type' = 'APPEAL_DECIDED' AND facts ? 'goodwill'),
              quoted AS (SELECT e.*, (facts ->> 'quote_id')::uuid AS quote_id, coalesce((
                                SELECT CASE d.type WHEN 'QUOTE_ACCEPTED' THEN 'ACCEPTED' WHEN 'QUOTE_DECLINED' THEN 'DECLINED'
                                                   WHEN 'QUOTE_EXPIRED' THEN 'EXPIRED' ELSE 'SUPERSEDED' END
                                  FROM claim_events n, LATERAL (SELECT n.facts ->> 'type' AS type) d
                                 WHERE n.claim_id = e.claim_id AND n.sequence > e.sequence
                                   AND (d.type LIKE 'QUOTE%' OR d.type = 'APPEAL_DECIDED' AND n.facts ? 'goodwill')
                                 ORDER BY n.sequence LIMIT 1), 'ISSUED') AS state
                           FROM event e WHERE type = 'QUOTED'),
              charged AS (SELECT *, facts #> '{charge,total}' AS total, facts #> '{charge,vat}' AS vat
                            FROM event WHERE type = 'REPAIRED' AND facts ? 'charge'),
              billed AS (SELECT claim_id, 'CHARGE' AS kind, total, vat, recorded_at, NULL AS reference FROM charged
                         UNION ALL
                         SELECT e.claim_id, 'PAYMENT', total, vat, e.recorded_at, e.facts ->> 'reference'
                           FROM event e LEFT JOIN charged c USING (claim_id) WHERE e.type = 'PAID'
                         UNION ALL
                         SELECT e.claim_id, 'CHARGE_REVERSED', total, vat, e.recorded_at, NULL
                           FROM event e JOIN charged c USING (claim_id) WHERE e.type = 'LOST_CLOSED'
                         UNION ALL
                         SELECT claim_id, 'GOODWILL', facts #> '{goodwill,cost}', '0', recorded_at, NULL
                           FROM event WHERE type = 'APPEAL_DECIDED'),
              added AS (SELECT claim_id, (facts ->> 'evidence_id')::uuid AS evidence_id, facts ->> 'sha256' AS sha256, recorded_at
                          FROM event WHERE type = 'EVIDENCE_ADDED')
         SELECT claim_id, 'quote ' || quote_id FROM quoted e FULL JOIN quotes q USING (claim_id, quote_id)
          WHERE (facts #> '{charge,total}', facts #> '{charge,vat}', recorded_at, actor, e.state)
                IS DISTINCT FROM (to_jsonb(total_fen), to_jsonb(vat_fen), issued_at, issued_by, q.state)
         UNION ALL
         SELECT claim_id, 'entry ' || kind || ' of billing''s feed' FROM billed e FULL JOIN billables b USING (claim_id, kind)
          WHERE (total, vat, e.recorded_at, e.reference)
                IS DISTINCT FROM (to_jsonb(amount_fen), to_jsonb(vat_fen), b.recorded_at, b.reference)
         UNION ALL
         SELECT claim_id, 'evidence ' || evidence_id FROM added e FULL JOIN evidence v USING (claim_id, evidence_id)
          WHERE (e.sha256, recorded_at) IS DISTINCT FROM (encode(v.sha256, 'hex'), added_at)
         ORDER BY 1, 2",
    )
    .fetch_all(conn)
    .await?;
    let fault =
        |(claim_id, what)| Fault { claim_id, sequence: None, what: format!("its {what} is not what its events say") };
    Ok(apart.into_iter().map(fault).collect())
}
