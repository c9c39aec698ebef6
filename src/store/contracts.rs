//! Contracts (S5): drafted, confirmed, revoked. Each change is a new version; what was known before stays.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, types::Json};

use super::error::{Error, Result};
use crate::domain::{actor::Actor, policy::ContractTerms, refusal::Refusal};

/// A version of a contract.
#[derive(Clone, Debug, FromRow, Serialize)]
#[allow(missing_docs)] // Each field is the column of the same name.
pub struct ContractRow {
    pub contract_number: String,
    pub terms: Json<ContractTerms>,
    pub confirmed_on: Option<NaiveDate>,
    pub revoked_on: Option<NaiveDate>,
    pub reason: Option<String>,
    pub version: i64,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

macro_rules! select_versions {
    ($rest:literal) => {
        concat!(
            "SELECT contract_number, terms, confirmed_on, revoked_on, reason, version, recorded_at, recorded_by
               FROM contract_versions ",
            $rest
        )
    };
}

/// A change of a contract's force.
#[derive(Clone, Debug)]
pub struct Change {
    /// Confirmed from this day, or revoked from it.
    pub from: NaiveDate,
    /// Why.
    pub reason: String,
    /// The version read; 0 for whatever is current.
    pub version: i64,
}

/// Drafts a contract.
pub async fn create(
    conn: &mut PgConnection,
    number: &str,
    terms: ContractTerms,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<ContractRow> {
    sqlx::query("INSERT INTO contracts (contract_number) VALUES ($1)").bind(number).execute(&mut *conn).await?;
    let draft = ContractRow {
        contract_number: number.to_owned(),
        terms: Json(terms),
        confirmed_on: None,
        revoked_on: None,
        reason: None,
        version: 1,
        recorded_at: now,
        recorded_by: actor.to_string(),
    };
    insert(conn, &draft).await?;
    Ok(draft)
}

/// Gives one contract.
pub async fn get(db: impl PgExecutor<'_>, number: &str) -> Result<ContractRow> {
    sqlx::query_as(select_versions!("WHERE contract_number = $1 AND superseded_at = 'infinity'"))
        .bind(number)
        .fetch_optional(db)
        .await?
        .ok_or_else(|| Error::not_found("contract", number))
}

/// Every version of a contract, the first draft first.
pub async fn versions(db: impl PgExecutor<'_>, number: &str) -> Result<Vec<ContractRow>> {
    let versions: Vec<ContractRow> = sqlx::query_as(select_versions!("WHERE contract_number = $1 ORDER BY version"))
        .bind(number)
        .fetch_all(db)
        .await?;
    if versions.is_empty() { Err(Error::not_found("contract", number)) } else { Ok(versions) }
}

/// Lists at most `limit` contracts after a number.
pub async fn list(db: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<ContractRow>> {
    let contracts = sqlx::query_as(select_versions!(
        "WHERE contract_number > $1 AND superseded_at = 'infinity' ORDER BY contract_number LIMIT $2"
    ));
    Ok(contracts.bind(after).bind(limit).fetch_all(db).await?)
}

/// Confirms a draft.
pub async fn confirm(
    conn: &mut PgConnection,
    number: &str,
    change: &Change,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<ContractRow> {
    let contract = get(&mut *conn, number).await?;
    Refusal::unless_version(change.version, contract.version)?;
    if contract.confirmed_on.is_some() {
        return Err(Refusal::ContractState("the contract is confirmed already").into());
    }
    next(conn, ContractRow { confirmed_on: Some(change.from), ..contract }, change, actor, now).await
}

/// Revokes a confirmed contract.
pub async fn revoke(
    conn: &mut PgConnection,
    number: &str,
    change: &Change,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<ContractRow> {
    let contract = get(&mut *conn, number).await?;
    Refusal::unless_version(change.version, contract.version)?;
    match contract.confirmed_on {
        None => return Err(Refusal::ContractState("the contract is not confirmed").into()),
        Some(_) if contract.revoked_on.is_some() => {
            return Err(Refusal::ContractState("the contract is revoked already").into());
        }
        Some(confirmed_on) if change.from < confirmed_on => {
            return Err(Error::invalid("from_date", format!("must not lie before the confirmation on {confirmed_on}")));
        }
        Some(_) => {}
    }
    next(conn, ContractRow { revoked_on: Some(change.from), ..contract }, change, actor, now).await
}

/// Puts a version in the current one's place. Of two at once the second meets `contract_versions_pkey` and tries again.
async fn next(
    conn: &mut PgConnection,
    contract: ContractRow,
    change: &Change,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<ContractRow> {
    // `now` is read before the row is won: no version begins before the one it follows.
    let now = now.max(contract.recorded_at);
    sqlx::query(
        "UPDATE contract_versions SET superseded_at = $2 WHERE contract_number = $1 AND superseded_at = 'infinity'",
    )
    .bind(&contract.contract_number)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let contract = ContractRow {
        reason: Some(change.reason.clone()),
        version: contract.version + 1,
        recorded_at: now,
        recorded_by: actor.to_string(),
        ..contract
    };
    insert(conn, &contract).await?;
    Ok(contract)
}

async fn insert(conn: &mut PgConnection, contract: &ContractRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO contract_versions (contract_number, version, terms, confirmed_on, revoked_on, reason, recorded_at, recorded_by)
         SELECT contract_number, version, terms, confirmed_on, revoked_on, reason, recorded_at, recorded_by
           FROM jsonb_populate_record(NULL::contract_versions, $1)",
    )
    .bind(Json(contract))
    .execute(conn)
    .await?;
    Ok(())
}
