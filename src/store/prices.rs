//! Prices and the rate of VAT, each from a day on. In force on a day is the latest that has begun.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow};

use super::error::Result;
use crate::domain::{
    actor::Actor,
    money::Fen,
    quote::{PriceKey, PriceList},
    refusal::Refusal,
};

/// A price from a day on.
#[derive(Clone, Debug)]
pub struct Price {
    /// What it is for.
    pub key: PriceKey,
    /// For one, before tax; none where it is not offered any more.
    pub amount: Option<Fen>,
    /// The first day it holds.
    pub valid_from: NaiveDate,
}

/// The rate of VAT from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VatRate {
    /// Hundredths of a per cent.
    pub basis_points: u32,
    /// The first day it holds.
    pub valid_from: NaiveDate,
}

impl<'r> FromRow<'r, PgRow> for Price {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        let product_type: &str = row.try_get("product_type")?;
        let invalid = |error: strum::ParseError| sqlx::Error::Decode(Box::new(error));
        let product_type = (!product_type.is_empty()).then(|| product_type.parse().map_err(invalid)).transpose()?;
        let key = PriceKey { kind: row.try_get("kind")?, product_type, code: row.try_get("code")? };
        let amount: Option<i64> = row.try_get("amount_fen")?;
        Ok(Self { key, amount: amount.map(Fen), valid_from: row.try_get("valid_from")? })
    }
}

/// The columns of keys: kinds, product types, codes.
fn columns<'a>(keys: impl Iterator<Item = &'a PriceKey>) -> (Vec<String>, Vec<String>, Vec<&'a str>) {
    let column = |key: &'a PriceKey| {
        let product_type = key.product_type.map(|product_type| product_type.to_string()).unwrap_or_default();
        (key.kind.to_string(), product_type, key.code.as_str())
    };
    keys.map(column).collect()
}

/// The prices of these keys in force on a day, and the rate of VAT.
pub async fn in_force(conn: &mut PgConnection, day: NaiveDate, keys: &[PriceKey]) -> Result<PriceList> {
    let (kinds, product_types, codes) = columns(keys.iter());
    let prices = sqlx::query_as(
        "SELECT DISTINCT ON (kind, product_type, code) kind, product_type, code, valid_from, amount_fen
           FROM prices JOIN unnest($2::text[], $3::text[], $4::text[]) asked (kind, product_type, code) USING (kind, product_type, code)
          WHERE valid_from <= $1 ORDER BY kind, product_type, code, valid_from DESC, number DESC",
    );
    let prices: Vec<Price> = prices.bind(day).bind(kinds).bind(product_types).bind(codes).fetch_all(&mut *conn).await?;
    let prices = prices.into_iter().filter_map(|price| Some((price.key, price.amount?))).collect();
    Ok(PriceList { prices, vat_basis_points: vat(conn, day).await?.map(|vat| vat.basis_points) })
}

/// The rate of VAT in force on a day.
pub async fn vat(conn: &mut PgConnection, day: NaiveDate) -> Result<Option<VatRate>> {
    let vat: Option<(i32, NaiveDate)> = sqlx::query_as(
        "SELECT basis_points, valid_from FROM vat_rates WHERE valid_from <= $1 ORDER BY valid_from DESC, number DESC LIMIT 1",
    )
    .bind(day)
    .fetch_optional(conn)
    .await?;
    Ok(vat.map(|(basis_points, valid_from)| VatRate { basis_points: basis_points.unsigned_abs(), valid_from }))
}

/// At most `limit` prices in force on a day, by key, after the key of one of them.
pub async fn list(
    conn: &mut PgConnection,
    day: NaiveDate,
    after: &(String, String, String),
    limit: i64,
) -> Result<Vec<Price>> {
    let prices = sqlx::query_as(
        "SELECT * FROM (SELECT DISTINCT ON (kind, product_type, code) kind, product_type, code, valid_from, amount_fen FROM prices
                         WHERE valid_from <= $1 AND (kind, product_type, code) > ($2, $3, $4)
                         ORDER BY kind, product_type, code, valid_from DESC, number DESC) latest
          WHERE amount_fen IS NOT NULL ORDER BY kind, product_type, code LIMIT $5",
    );
    let prices = prices.bind(day).bind(&after.0).bind(&after.1).bind(&after.2).bind(limit);
    Ok(prices.fetch_all(conn).await?)
}

/// Sets prices and the rate of VAT, each of another key or day, none before `today`. What has begun is never changed; what has not
/// is set anew by another row, and of those of one day the latest holds.
pub async fn set(
    conn: &mut PgConnection,
    prices: &[Price],
    vat: Option<VatRate>,
    actor: &Actor,
    (now, today): (DateTime<Utc>, NaiveDate),
) -> Result<()> {
    let (kinds, product_types, codes) = columns(prices.iter().map(|price| &price.key));
    let set = sqlx::query(
        "INSERT INTO prices (kind, product_type, code, valid_from, number, amount_fen, set_at, set_by)
         SELECT kind, product_type, code, valid_from, 1 + before, p.amount_fen, $6, $7
           FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::bigint[]) p (kind, product_type, code, valid_from, amount_fen)
          CROSS JOIN LATERAL (SELECT count(*) AS before FROM prices b WHERE (b.kind, b.product_type, b.code, b.valid_from)
                                                                      = (p.kind, p.product_type, p.code, p.valid_from)) set_before
          WHERE before = 0 OR valid_from > $8 ORDER BY kind, product_type, code, valid_from",
    )
    .bind(kinds)
    .bind(product_types)
    .bind(codes)
    .bind(prices.iter().map(|price| price.valid_from).collect::<Vec<_>>())
    .bind(prices.iter().map(|price| price.amount.map(|amount| amount.0)).collect::<Vec<_>>())
    .bind(now)
    .bind(actor.to_string())
    .bind(today)
    .execute(&mut *conn)
    .await?;
    if set.rows_affected() < prices.len() as u64 {
        return Err(Refusal::AlreadyExists("a price that is in force".to_owned()).into());
    }
    let Some(vat) = vat else { return Ok(()) };
    let set = sqlx::query(
        "INSERT INTO vat_rates (valid_from, number, basis_points, set_at, set_by)
         SELECT $1, 1 + before, $2, $3, $4 FROM (SELECT count(*) AS before FROM vat_rates WHERE valid_from = $1) set_before
          WHERE before = 0 OR $1 > $5",
    );
    let set =
        set.bind(vat.valid_from).bind(vat.basis_points.cast_signed()).bind(now).bind(actor.to_string()).bind(today);
    match set.execute(conn).await?.rows_affected() {
        0 => Err(Refusal::AlreadyExists("a rate of VAT that is in force".to_owned()).into()),
        _ => Ok(()),
    }
}
