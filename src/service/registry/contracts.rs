//! Contracts (S5): draft, confirm, revoke.

use chrono::NaiveDate;
use tonic::Request;

use crate::{
    clock::civil_date,
    contract::{google::r#type::Date, v1},
    domain::policy::ContractTerms,
    service::wire::{date, number, text, time},
    service::{App, Fields, Page, Reply, open, open_write, transact},
    store::contracts::{self, Change, ContractRow},
};

fn contract(row: ContractRow) -> v1::Contract {
    let terms = row.terms.0;
    let months = |months: Option<u32>| months.map(u32::cast_signed);
    v1::Contract {
        contract_number: row.contract_number,
        terms: Some(v1::ContractTerms {
            replacement_days: months(terms.replacement_days),
            repair_months: months(terms.repair_months),
            accessory_days: months(terms.accessory_days),
            after_repair_months: months(terms.after_repair_months),
            after_paid_repair_months: months(terms.after_paid_repair_months),
            no_invoice_months: months(terms.no_invoice_months),
            territory: terms.territory.map_or(0, |territory| number!(territory)),
        }),
        confirmed_date: row.confirmed_on.map(date),
        revoked_date: row.revoked_on.map(date),
        reason: text(row.reason),
        version: row.version,
        recorded_time: Some(time(row.recorded_at)),
        recorded_by: row.recorded_by,
    }
}

/// Reads terms: at least one, each within its bounds.
fn terms(fields: &mut Fields, given: &v1::ContractTerms) -> Option<ContractTerms> {
    let mut bounded = |name: &str, value: Option<i32>, most: u32| -> Option<u32> {
        let value = value?;
        let read = u32::try_from(value).ok().filter(|value| *value <= most);
        if read.is_none() {
            fields.violate(&format!("terms.{name}"), format!("must be 0 to {most}"));
        }
        read
    };
    let terms = ContractTerms {
        replacement_days: bounded("replacement_days", given.replacement_days, 3650),
        repair_months: bounded("repair_months", given.repair_months, 600),
        accessory_days: bounded("accessory_days", given.accessory_days, 3650),
        after_repair_months: bounded("after_repair_months", given.after_repair_months, 600),
        after_paid_repair_months: bounded("after_paid_repair_months", given.after_paid_repair_months, 600),
        no_invoice_months: bounded("no_invoice_months", given.no_invoice_months, 600),
        territory: fields.optional_choice("terms.territory", given.territory).flatten(),
    };
    if *given == v1::ContractTerms::default() {
        fields.violate("terms", "must name at least one term");
    }
    Some(terms)
}

pub(super) async fn create(
    app: &App,
    request: Request<v1::CreateContractRequest>,
) -> Reply<v1::CreateContractResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let number = fields.name("contract_number", &request.contract_number, "._/-");
    let terms = terms(&mut fields, &request.terms.unwrap_or_default());
    let (id, number, terms) = fields.finish(|| Some((id?, number?, terms?)))?;
    transact!(app.write(&call, id, &request, number), |conn, number, moment| {
        let draft = contracts::create(conn, &number, terms, &moment.actor, moment.now).await?;
        Ok(v1::CreateContractResponse { contract: Some(contract(draft)) })
    })
}

pub(super) async fn get(app: &App, request: Request<v1::GetContractRequest>) -> Reply<v1::GetContractResponse> {
    let (call, request) = open(request)?;
    let number = Fields::one(|fields| fields.name("contract_number", &request.contract_number, "._/-"))?;
    transact!(app.read(&call, number), |conn, number, _| {
        Ok(v1::GetContractResponse { contract: Some(contract(contracts::get(conn, &number).await?)) })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListContractsRequest>) -> Reply<v1::ListContractsResponse> {
    let (call, request) = open(request)?;
    let page = Fields::one(|fields| Page::read(fields, &call, request.page_size, &request.page_token, &()))?;
    transact!(app.read(&call, page), |conn, page, _| {
        let mut found = contracts::list(conn, page.after.as_deref().unwrap_or(""), page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |contract| contract.contract_number.clone());
        Ok(v1::ListContractsResponse { contracts: found.into_iter().map(contract).collect(), next_page_token })
    })
}

/// What a confirmation and a revocation have in common: the contract's number, and the change.
fn change(
    fields: &mut Fields,
    number: &str,
    (from, today): (Option<&Date>, NaiveDate),
    reason: &str,
    version: i64,
) -> Option<(String, Change)> {
    let number = fields.name("contract_number", number, "._/-");
    let from = fields.past_date("from_date", from, today);
    let reason = fields.text("reason", reason, 500);
    let version = fields.version(version);
    Some((number?, Change { from: from?, reason: reason?, version: version? }))
}

/// Both: `$change` makes the contract's next version.
macro_rules! changes {
    ($call:ident($request:ident) -> $reply:ident = $change:path) => {
        pub(super) async fn $call(app: &App, request: Request<v1::$request>) -> Reply<v1::$reply> {
            let (call, request, id, mut fields) = open_write(request)?;
            let from = (request.from_date.as_ref(), civil_date(app.clock.now()));
            let change = change(&mut fields, &request.contract_number, from, &request.reason, request.version);
            let (id, asked) = fields.finish(|| id.zip(change))?;
            transact!(app.write(&call, id, &request, asked), |conn, (number, change), moment| {
                let changed = $change(conn, &number, &change, &moment.actor, moment.now).await?;
                Ok(v1::$reply { contract: Some(contract(changed)) })
            })
        }
    };
}
changes!(confirm(ConfirmContractRequest) -> ConfirmContractResponse = contracts::confirm);
changes!(revoke(RevokeContractRequest) -> RevokeContractResponse = contracts::revoke);

pub(super) async fn list_versions(
    app: &App,
    request: Request<v1::ListContractVersionsRequest>,
) -> Reply<v1::ListContractVersionsResponse> {
    let (call, request) = open(request)?;
    let number = Fields::one(|fields| fields.name("contract_number", &request.contract_number, "._/-"))?;
    transact!(app.read(&call, number), |conn, number, _| {
        let versions = contracts::versions(conn, &number).await?;
        Ok(v1::ListContractVersionsResponse { versions: versions.into_iter().map(contract).collect() })
    })
}
