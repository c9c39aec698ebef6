//! Dealers: active or suspended, and their credit terms.

use tonic::Request;

use crate::{
    contract::v1::{self, DealerStatus},
    service::{App, Fields, Page, Reply, open, open_write, transact},
    store::dealers::{self, Change, Dealer},
};

fn dealer(dealer: Dealer) -> v1::Dealer {
    let status = if dealer.active { DealerStatus::Active } else { DealerStatus::Suspended };
    v1::Dealer {
        dealer_id: dealer.dealer_id,
        name: dealer.name,
        status: status.into(),
        version: dealer.version,
        credit_terms: dealer.credit_terms,
        debt_limit: dealer.debt_limit,
    }
}

pub(super) async fn create(app: &App, request: Request<v1::CreateDealerRequest>) -> Reply<v1::CreateDealerResponse> {
    let (call, request, id, mut fields) = open_write(request)?;
    let dealer_id = fields.name("dealer_id", &request.dealer_id, "._-");
    let name = fields.text("name", &request.name, 100);
    let (id, dealer_id, name) = fields.finish(|| Some((id?, dealer_id?, name?)))?;
    transact!(app.write(&call, id, &request, (dealer_id, name)), |conn, (dealer_id, name), _| {
        Ok(v1::CreateDealerResponse { dealer: Some(dealer(dealers::create(conn, &dealer_id, &name).await?)) })
    })
}

pub(super) async fn get(app: &App, request: Request<v1::GetDealerRequest>) -> Reply<v1::GetDealerResponse> {
    let (call, request) = open(request)?;
    let dealer_id = Fields::one(|fields| fields.name("dealer_id", &request.dealer_id, "._-"))?;
    transact!(app.read(&call, dealer_id), |conn, dealer_id, _| {
        Ok(v1::GetDealerResponse { dealer: Some(dealer(dealers::get(conn, &dealer_id).await?)) })
    })
}

pub(super) async fn list(app: &App, request: Request<v1::ListDealersRequest>) -> Reply<v1::ListDealersResponse> {
    let (call, request) = open(request)?;
    let page = Fields::one(|fields| Page::read(fields, &call, request.page_size, &request.page_token, &()))?;
    transact!(app.read(&call, page), |conn, page, _| {
        let mut found = dealers::list(conn, page.after.as_deref().unwrap_or(""), page.fetch()).await?;
        let next_page_token = page.cut(&mut found, |dealer| dealer.dealer_id.clone());
        Ok(v1::ListDealersResponse { dealers: found.into_iter().map(dealer).collect(), next_page_token })
    })
}

/// A call that changes a dealer: `$read` reads what, as columns of `Change`.
macro_rules! changes {
    ($call:ident($request:ident) -> $reply:ident = $read:expr) => {
        pub(super) async fn $call(app: &App, request: Request<v1::$request>) -> Reply<v1::$reply> {
            let (call, request, id, mut fields) = open_write(request)?;
            let dealer_id = fields.name("dealer_id", &request.dealer_id, "._-");
            let version = fields.version(request.version);
            let read: fn(&mut Fields, &v1::$request) -> Option<Change> = $read;
            let change = read(&mut fields, &request);
            let (id, dealer_id, version, change) = fields.finish(|| Some((id?, dealer_id?, version?, change?)))?;
            transact!(app.write(&call, id, &request, dealer_id), |conn, dealer_id, _| {
                let changed = dealers::change(conn, &dealer_id, version, change).await?;
                Ok(v1::$reply { dealer: Some(dealer(changed)) })
            })
        }
    };
}
changes!(set_status(SetDealerStatusRequest) -> SetDealerStatusResponse = |fields, request| {
    let active = match request.status() {
        DealerStatus::Active => Some(true),
        DealerStatus::Suspended => Some(false),
        DealerStatus::Unspecified => {
            fields.not_one_of("status", request.status, ["ACTIVE", "SUSPENDED"].map(str::to_owned).into_iter());
            None
        }
    };
    Some(Change { active: Some(active?), ..Change::default() })
});
changes!(set_credit_terms(SetDealerCreditTermsRequest) -> SetDealerCreditTermsResponse =
    |_, request| Some(Change { credit_terms: Some(request.credit_terms), ..Change::default() }));
changes!(set_debt_limit(SetDealerDebtLimitRequest) -> SetDealerDebtLimitResponse = |fields, request| {
    if request.debt_limit.is_some_and(|limit| !(0..=1_000_000).contains(&limit)) {
        fields.violate("debt_limit", "must be 0 to 1,000,000");
    }
    Some(Change { debt_limit: Some(request.debt_limit), ..Change::default() })
});
