//! Before and at filing: a preview, one claim, many (M1, M2). A preview and a filing share one appraisal.

use chrono::NaiveDate;
use futures::{StreamExt, stream};
use sqlx::PgConnection;
use tonic::{Request, Response};
use uuid::Uuid;

use super::{
    Ruled,
    answer::{self, Reader},
    decide_now,
};
use crate::{
    auth::Call,
    contract::v1,
    domain::{
        actor::Actor,
        claim::Claim,
        coverage::Remedy,
        event::{Filing, Ruling, Stage, Vouchers},
        fact::Language,
        facts::{Report, Told},
        money::Fen,
        quote,
        refusal::Refusal,
        serial::Serial,
        vouchers::{Prospect, dispute, obstacles, verify},
    },
    metrics,
    service::wire::{money, text},
    service::{App, Fields, Moment, Reply, Written, decision, open, status, transact},
    store::{
        self, Error,
        claims::{self, Decided},
        filing::{self, Begun},
        people::NamedCustomer,
        prices, units,
    },
};

/// Claims of one call.
const MOST_CLAIMS: usize = 100;
/// Of one call's claims so many are filed at once.
const AT_ONCE: usize = 4;
/// Each of a batch's claims is a request of this method: sent alone it is the same request.
const FILE_CLAIM: &str = "/aopre.warranty.v1.ClaimService/FileClaim";

/// A filing as asked for, nothing looked up yet.
#[derive(Clone)]
struct Asked {
    serial: Serial,
    told: Told,
    customer: Option<NamedCustomer>,
    vouchers: Vouchers,
}

impl Asked {
    fn read(
        fields: &mut Fields,
        actor: &Actor,
        serial: &str,
        report: Option<&v1::FaultReport>,
        customer: Option<&v1::Customer>,
        vouchers: Option<&v1::Vouchers>,
    ) -> Option<Self> {
        let serial = fields.serial("serial", serial);
        let told = fields.told(report);
        let named = fields.customer("customer", customer);
        if actor.customer_id().is_some() && customer.is_some() {
            fields.violate("customer", "must be left out: a customer files for himself");
        }
        let vouchers = fields.vouchers(&vouchers.cloned().unwrap_or_default());
        Some(Self { serial: serial?, told: told?, customer: named?, vouchers: vouchers? })
    }

    /// The customer that is named by number.
    fn named(&self) -> Option<Uuid> {
        match self.customer {
            Some(NamedCustomer::Known(id)) => Some(id),
            _ => None,
        }
    }
}

/// What filing would come to.
struct Appraisal {
    ruled: Ruled,
    /// The claim as it would be filed.
    claim: Claim,
    /// What stands in its way, the first as filing is refused.
    obstacles: Vec<Refusal>,
}

/// Appraises a claim: bad input first, then the decision, then what stands in the way. Reads only.
async fn appraise(
    conn: &mut PgConnection,
    asked: &Asked,
    prospect: &Prospect,
    moment: &Moment,
) -> store::Result<Appraisal> {
    let actor = &moment.actor;
    let report = Report {
        on: moment.today,
        told: asked.told.clone(),
        findings: Default::default(),
        no_fault_found: false,
        inspected: false,
    };
    let ruled = match decide_now(&mut *conn, moment, &asked.serial, None, report).await {
        Err(Error::NotFound { kind: "unit", .. }) => return Err(units::unknown(conn, &asked.serial).await),
        ruled => ruled?,
    };
    let filing = Filing {
        serial: asked.serial.clone(),
        applicant: actor.clone(),
        customer_id: whom(actor, asked.customer.as_ref(), prospect)?,
        told: asked.told.clone(),
        vouchers: asked.vouchers.clone(),
        voucher_verified: verify(actor, &asked.vouchers, prospect.sale.as_ref()) == Ok(true),
        filed_at: moment.now,
        reported_on: moment.today,
        targets: ruled.targets,
        dispute: dispute(actor, &asked.vouchers, prospect.sale.as_ref()),
    };
    let decision = &ruled.decided.decision;
    let mut obstacles = obstacles(actor, &asked.vouchers, prospect, decision);
    if obstacles.is_empty() && prospect.is_in_stock {
        // Told to those alone who could file: a sale may be told late, but what the maker has nobody can send in.
        let rule = "it stands in the maker's stock, and nobody else has it";
        obstacles.push(Refusal::StockRefused { serial: asked.serial.to_string(), rule });
    }
    let claim = Claim::filed(Uuid::now_v7(), filing, &Ruling::of(Stage::Provisional, decision));
    Ok(Appraisal { ruled, claim, obstacles })
}

/// Whom the claim is for: himself, whom the dealer names, or the buyer that the dealer's own sale names.
fn whom(actor: &Actor, named: Option<&NamedCustomer>, prospect: &Prospect) -> store::Result<Uuid> {
    if let Some(own) = actor.customer_id() {
        return Ok(own);
    }
    match named {
        Some(NamedCustomer::Known(id)) if !prospect.customer_is_known => Err(Error::not_found("customer", id)),
        Some(NamedCustomer::Known(id) | NamedCustomer::New(id, _)) => Ok(*id),
        None => {
            let own = prospect.sale.as_ref().filter(|sale| Some(sale.dealer_id.as_str()) == actor.dealer_id());
            let buyer = own.and_then(|sale| sale.customer_id);
            buyer.ok_or_else(|| Error::invalid("customer", "is required: no sale of the caller's names the customer"))
        }
    }
}

pub(super) async fn preview(app: &App, request: Request<v1::PreviewClaimRequest>) -> Reply<v1::PreviewClaimResponse> {
    let (call, request) = open(request)?;
    let v1::PreviewClaimRequest { serial, report, customer, vouchers, language } = &request;
    let mut fields = Fields::default();
    let asked = Asked::read(&mut fields, &call.actor, serial, report.as_ref(), customer.as_ref(), vouchers.as_ref());
    let language = fields.optional_choice("language", *language);
    let (asked, language) = fields.finish(|| Some((asked?, language?)))?;
    transact!(app.read(&call, (asked, app.moment(&call))), |conn, (asked, moment), actor| {
        let prospect = filing::look(&mut *conn, actor, &asked.serial, asked.named()).await?;
        let Appraisal { ruled, claim, obstacles } = appraise(&mut *conn, &asked, &prospect, &moment).await?;
        let decided = &ruled.decided.decision;
        let reader = Reader { actor, today: moment.today, language };
        let estimate = match decided.remedy {
            Remedy::PaidService => estimate(conn, &ruled, moment.today).await?,
            _ => None,
        };
        let next = if obstacles.is_empty() { answer::next_actions(&claim, reader) } else { Vec::new() };
        Ok(v1::PreviewClaimResponse {
            decision: Some(decision::decision(decided, language)),
            summary: decision::summary(&ruled.policies, decided, language),
            voucher_standing: decision::standing(actor, &asked.vouchers, prospect.sale.as_ref()).into(),
            texts: decision::texts(&ruled.policies, decided, language),
            obstacles: obstacles.iter().map(|refusal| obstacle(refusal, language)).collect(),
            estimate: estimate.map(money),
            next_actions: next,
            contact: ruled.contact,
            voucher_dispute: answer::dispute(&claim, actor),
        })
    })
}

/// What a quote for the fault as told would come to today; none where the price list does not name it.
async fn estimate(conn: &mut PgConnection, ruled: &Ruled, today: NaiveDate) -> store::Result<Option<Fen>> {
    let Decided { facts, report, .. } = &ruled.decided;
    let (product_type, fault) = (facts.original.product_type, report.told.fault.as_deref());
    let list = prices::in_force(conn, today, &quote::keys(product_type, fault, &[])).await?;
    Ok(quote::estimate(&list, product_type, fault))
}

fn obstacle(refusal: &Refusal, language: Option<Language>) -> v1::Obstacle {
    let summary = refusal.summary(language.unwrap_or(Language::English));
    let reason = status::reason(&status::refused(refusal)).into();
    v1::Obstacle { reason, message: refusal.to_string(), summary: text(summary) }
}

pub(super) async fn file(app: &App, request: Request<v1::FileClaimRequest>) -> Reply<v1::FileClaimResponse> {
    let (call, request) = open(request)?;
    file_one(app, &call, request).await
}

async fn file_one(app: &App, call: &Call, request: v1::FileClaimRequest) -> Reply<v1::FileClaimResponse> {
    let v1::FileClaimRequest { request_id, serial, report, customer, vouchers, language } = &request;
    let mut fields = Fields::default();
    let id = fields.request_id(request_id);
    let asked = Asked::read(&mut fields, &call.actor, serial, report.as_ref(), customer.as_ref(), vouchers.as_ref());
    let language = fields.optional_choice("language", *language);
    let (id, asked, language) = fields.finish(|| Some((id?, asked?, language?)))?;
    transact!(app.write_once(call, id, &request, asked), |conn, asked, moment, written| {
        match filing::begin(&mut *conn, &moment.actor, written, &asked.serial, asked.named()).await? {
            Begun::Before(reply) => Ok(Written::Before(reply)),
            Begun::Now(prospect) => file_now(conn, asked, &prospect, moment, language).await.map(Written::Now),
        }
    })
}

async fn file_now(
    conn: &mut PgConnection,
    asked: Asked,
    prospect: &Prospect,
    moment: &Moment,
    language: Option<Language>,
) -> store::Result<v1::FileClaimResponse> {
    let Appraisal { ruled, claim, obstacles } = appraise(&mut *conn, &asked, prospect, moment).await?;
    if let Some(refusal) = obstacles.into_iter().next() {
        return Err(refusal.into());
    }
    let person = match &asked.customer {
        Some(NamedCustomer::New(_, person)) => Some(person),
        _ => None,
    };
    claims::file(conn, &claim, &ruled.decided, person, &moment.actor, moment.now).await?;
    metrics::decided(metrics::Stage::Filed, &ruled.decided.decision);
    let Ruled { decided, contact, policies, .. } = ruled;
    // The reply is kept: texts stand in it where they were asked for.
    let told = |language| {
        let decision = &decided.decision;
        (decision::summary(&policies, decision, Some(language)), decision::texts(&policies, decision, Some(language)))
    };
    let (summary, texts) = language.map(told).unwrap_or_default();
    let claim = answer::filed(claim, decided, Reader { language, ..moment.into() });
    Ok(v1::FileClaimResponse { claim: Some(claim), contact, summary, texts })
}

pub(super) async fn file_many(
    app: &App,
    request: Request<v1::BatchFileClaimsRequest>,
) -> Reply<v1::BatchFileClaimsResponse> {
    use v1::file_claim_result::Result as Told;
    let (call, request) = open(request)?;
    Fields::at_most("claims", &request.claims, MOST_CLAIMS)?;
    let mut fields = Fields::default();
    fields.entries("claims", &request.claims);
    fields.finish(|| Some(()))?;
    let call = &Call { method: FILE_CLAIM, ..call };
    let filed = stream::iter(request.claims).map(async |claim| {
        let told = match file_one(app, call, claim).await {
            Ok(filed) => Told::Filed(filed.into_inner()),
            Err(refused) => Told::Status(status::whole(&refused)),
        };
        v1::FileClaimResult { result: Some(told) }
    });
    let results = filed.buffered(AT_ONCE).collect().await;
    Ok(Response::new(v1::BatchFileClaimsResponse { results }))
}
