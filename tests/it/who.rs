//! Who may do what: scopes and kinds, tenants, the database's own walls beneath, and input that nobody may send.

use std::{collections::BTreeMap, fmt::Debug};

use prost::Message;
use prost_types::{FileDescriptorSet, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection};
use tonic::{
    Code, Request, Response, Status, client::Grpc, codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService, transport::Channel,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;
use uuid::Uuid;
use warranty::{
    contract::{
        self,
        google::r#type::{Date, Money},
        v1::*,
    },
    domain::actor::Actor,
};

use crate::{
    claims::Life,
    evidence::{Sent, photo},
    stock::Shelves,
    world::{Caller, World, channel, contact, date, fen_as_money, filing, id, refusal, violations},
};

// ---- scopes and kinds

/// What the contracts' comments say of each method: its scope, and which kinds of caller it is for.
const METHODS: &str = "
    CoverageService/CheckCoverage       coverage.read   dealer customer staff
    CoverageService/BatchCheckCoverage  coverage.read   dealer customer staff
    CoverageService/StreamCoverage      coverage.read   dealer customer staff
    RegistryService/CreateProduct       registry.write  staff
    RegistryService/UpdateProduct       registry.write  staff
    RegistryService/GetProduct          registry.write  staff
    RegistryService/ListProducts        registry.write  staff
    RegistryService/CreateDealer        registry.write  staff
    RegistryService/GetDealer           registry.write  staff
    RegistryService/ListDealers         registry.write  staff
    RegistryService/SetDealerStatus     registry.write  staff
    RegistryService/SetDealerCreditTerms registry.write staff
    RegistryService/SetDealerDebtLimit  registry.write  staff
    RegistryService/CreateContract      registry.write  staff
    RegistryService/GetContract         registry.write  staff
    RegistryService/ListContracts       registry.write  staff
    RegistryService/ConfirmContract     registry.write  staff
    RegistryService/RevokeContract      registry.write  staff
    RegistryService/ListContractVersions registry.write staff
    RegistryService/RegisterUnits       registry.write  staff
    RegistryService/RegisterSale        sales.write     dealer staff
    RegistryService/CancelSale          sales.write     dealer staff
    RegistryService/ListSaleVersions    sales.write     dealer staff
    RegistryService/RecordDealerPromise sales.write     dealer staff
    RegistryService/ImportUnits         registry.write  staff
    RegistryService/ImportSales         sales.write     dealer staff
    RegistryService/GetUnit             coverage.read   dealer customer staff
    RegistryService/RecordHistory       registry.write  staff
    RegistryService/PublishPolicy       registry.write  staff
    RegistryService/ListPolicies        registry.write  staff
    RegistryService/PublishCalendarYear registry.write  staff
    RegistryService/SimulatePolicy      registry.write  staff
    RegistryService/EraseCustomer       people.erase    staff
    ClaimService/FileClaim              claims.apply    dealer customer
    ClaimService/PreviewClaim           claims.apply    dealer customer
    ClaimService/BatchFileClaims        claims.apply    dealer customer
    ClaimService/GetClaim               claims.read     dealer customer staff
    ClaimService/ListClaims             claims.read     dealer customer staff
    ClaimService/CancelClaim            claims.apply    dealer customer
    ClaimService/AddEvidence            claims.apply|depot.write dealer customer staff
    ClaimService/GetEvidence            claims.read     dealer customer staff
    ClaimService/WatchClaims            claims.read     dealer customer staff
    ClaimService/ListClaimEvents        claims.read     dealer customer staff
    ClaimService/RecordGuidance         claims.support  staff
    ClaimService/SettleVoucherDispute   claims.support  staff
    ClaimService/ListFaults             claims.read     dealer customer staff
    ClaimService/PutFault               registry.write  staff
    ClaimService/RecordSwap             claims.apply    dealer
    ClaimService/RecordInspection       depot.write     staff
    ClaimService/RecordRepair           depot.write     staff
    ClaimService/RecordReplacement      depot.write     staff
    ClaimService/RecordBeyondRepair     depot.write     staff
    ClaimService/QuoteRepair            billing.write   staff
    ClaimService/AcceptQuote            claims.apply    dealer customer
    ClaimService/DeclineQuote           claims.apply    dealer customer
    ClaimService/ListQuotes             claims.read     dealer customer staff
    ClaimService/RecordPayment          billing.write   staff
    ClaimService/ListBillableRepairs    billing.write   staff
    ClaimService/SetPrices              billing.write   staff
    ClaimService/ListPrices             billing.write   staff
    ClaimService/AppealDecision         claims.apply    dealer customer
    ClaimService/DecideAppeal           claims.support  staff
    LogisticsService/OpenReturn         claims.apply    dealer customer
    LogisticsService/RecordTracking     claims.apply|depot.write dealer customer staff
    LogisticsService/ReceiveReturn      depot.write     staff
    LogisticsService/ListSetAside       depot.write     staff
    LogisticsService/SettleSetAside     depot.write     staff
    LogisticsService/RecordLoss         depot.write     staff
    LogisticsService/CloseLost          depot.write     staff
    LogisticsService/DispatchOutbound   depot.write     staff
    LogisticsService/ConfirmDelivery    depot.write     staff
    LogisticsService/GetShipment        logistics.read  dealer customer staff
    LogisticsService/PutStockLocation   depot.write     staff
    LogisticsService/ListStockLocations depot.write     staff
    LogisticsService/ReceiveStock       depot.write     staff
    LogisticsService/MoveStock          depot.write     staff
    LogisticsService/ListStock          depot.write     staff
    LogisticsService/ListStockMovements depot.write     staff
    LogisticsService/SetStockMinimum    depot.write     staff
    LogisticsService/ListStockLevels    depot.write     staff
    LogisticsService/AllocateReplacement depot.write     staff
    LogisticsService/ReleaseAllocation  depot.write     staff
    LogisticsService/RefurbishUnit      depot.write     staff
    LogisticsService/WriteOffDebt       depot.write     staff
    LogisticsService/NetDebts           depot.write     staff
    LogisticsService/GetDealerLedger    logistics.read  dealer staff
    LogisticsService/ListShipments      logistics.read  dealer customer staff
    LogisticsService/GetPackingList     logistics.read  dealer customer staff
    LogisticsService/RecordFreightCost  billing.write|depot.write staff
    LogisticsService/GetFreightStatement logistics.read dealer customer staff
    LogisticsService/ExportFreight      billing.write|depot.write staff
    LogisticsService/GetReport          billing.write|depot.write staff
";

/// The scopes that each kind may hold.
const KINDS: [(&str, &[&str]); 3] = [
    ("dealer", &["coverage.read", "sales.write", "claims.read", "claims.apply", "logistics.read"]),
    ("customer", &["coverage.read", "claims.read", "claims.apply", "logistics.read"]),
    (
        "staff",
        &[
            "coverage.read",
            "sales.write",
            "registry.write",
            "claims.read",
            "claims.apply",
            "claims.support",
            "depot.write",
            "billing.write",
            "logistics.read",
            "people.erase",
        ],
    ),
];

/// Calls a method with an empty message.
async fn call_empty<T>(service: T, method: &str) -> Result<(), Status>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<tonic::codegen::StdError>,
    T::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    let mut grpc = Grpc::new(service);
    grpc.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    let path: PathAndQuery = format!("/aopre.warranty.v1.{method}").parse().unwrap();
    // A stream that has nothing to end it is left after its first message.
    let mut answer = grpc.server_streaming(Request::new(()), path, ProstCodec::<(), ()>::default()).await?.into_inner();
    answer.message().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_admits_its_scope_and_its_kinds_and_nobody_else() {
    let world = World::stocked().await;
    let rows: BTreeMap<&str, Vec<&str>> = METHODS
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(method, row)| (method, row.split_whitespace().collect()))
        .collect();
    let listed: Vec<&str> = rows.keys().copied().collect();
    assert_eq!(listed, methods_of_the_contracts(), "the table above and the contracts");

    for (method, row) in rows {
        let (scope, kinds) = row.split_first().unwrap();
        let channel = channel(match method.split('/').next().unwrap() {
            "ClaimService" => world.claim,
            "LogisticsService" => world.logistics,
            _ => world.coverage,
        });
        let refused = call_empty(channel.clone(), method).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::Unauthenticated, "TOKEN_REFUSED".into()), "{method} without a token");
        for (kind, held) in KINDS {
            for given in held.iter().chain([&""]) {
                let answer = call_empty(as_caller(&world, &channel, kind, given), method).await;
                let told = answer.map_err(|status| refusal(&status));
                let holds = scope.split('|').any(|scope| scope == *given);
                let expected = match (kinds.contains(&kind), holds) {
                    (false, _) => Some("CALLER_KIND"),
                    (true, false) => Some("SCOPE_MISSING"),
                    (true, true) => None,
                };
                match expected {
                    Some(reason) => {
                        assert_eq!(told, Err((Code::PermissionDenied, reason.into())), "{method} {kind} {given}")
                    }
                    None => assert!(
                        matches!(&told, Ok(()) | Err((Code::InvalidArgument, _))),
                        "{method} {kind} {given}: {told:?}"
                    ),
                }
            }
        }
    }
}

fn as_caller(
    world: &World,
    channel: &Channel,
    kind: &str,
    scope: &str,
) -> InterceptedService<Channel, crate::world::Bearer> {
    let actor = match kind {
        "dealer" => Actor::Dealer("D1".into()),
        "customer" => Actor::Customer(Uuid::from_u128(7)),
        _ => Actor::Staff("S1".into()),
    };
    InterceptedService::new(channel.clone(), world.bearer(&actor, scope))
}

fn methods_of_the_contracts() -> Vec<String> {
    let set = FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
    let services = set.file.iter().filter(|file| file.package() == "aopre.warranty.v1").flat_map(|file| &file.service);
    let mut methods: Vec<String> = services
        .flat_map(|service| service.method.iter().map(move |method| format!("{}/{}", service.name(), method.name())))
        .collect();
    methods.sort();
    methods
}

// ---- tenants

/// What a refusal shows, the id that was asked for left out.
fn shown(status: &Status, id: &str) -> (Code, String, String) {
    let hide = |text: &str| text.replace(id, "ID");
    (status.code(), hide(status.message()), hide(&String::from_utf8_lossy(status.details())))
}

/// Each call that names a claim, by someone who may call it.
async fn ask(caller: &mut Caller, method: &str, claim_id: &str) -> Status {
    let (request_id, claim_id) = (id(), claim_id.to_owned());
    match method {
        "GetClaim" => caller.claims.get_claim(GetClaimRequest { claim_id, ..Default::default() }).await.unwrap_err(),
        "ListClaimEvents" => {
            let request = ListClaimEventsRequest { claim_id, ..Default::default() };
            caller.claims.list_claim_events(request).await.unwrap_err()
        }
        "CancelClaim" => {
            let request = CancelClaimRequest { request_id, claim_id, ..Default::default() };
            caller.claims.cancel_claim(request).await.unwrap_err()
        }
        "RecordSwap" => {
            let request =
                RecordSwapRequest { request_id, claim_id, given_serial: "GIVEN1".into(), ..Default::default() };
            caller.claims.record_swap(request).await.unwrap_err()
        }
        "AcceptQuote" => {
            let request = AcceptQuoteRequest { request_id, claim_id, quote_id: id(), ..Default::default() };
            caller.claims.accept_quote(request).await.unwrap_err()
        }
        "DeclineQuote" => {
            let request = DeclineQuoteRequest { request_id, claim_id, quote_id: id(), ..Default::default() };
            caller.claims.decline_quote(request).await.unwrap_err()
        }
        "ListQuotes" => {
            let request = ListQuotesRequest { claim_id, ..Default::default() };
            caller.claims.list_quotes(request).await.unwrap_err()
        }
        "AppealDecision" => {
            let request = AppealDecisionRequest { request_id, claim_id, reason: "no".into(), ..Default::default() };
            caller.claims.appeal_decision(request).await.unwrap_err()
        }
        "OpenReturn" => {
            let (claim_ids, carrier) = (vec![claim_id], "SF".into());
            let request = OpenReturnRequest { request_id, claim_ids, carrier, ..Default::default() };
            caller.logistics.open_return(request).await.unwrap_err()
        }
        "GetShipment" => {
            let request = GetShipmentRequest { shipment_id: claim_id };
            caller.logistics.get_shipment(request).await.unwrap_err()
        }
        "GetPackingList" => {
            let request = GetPackingListRequest { shipment_id: claim_id };
            caller.logistics.get_packing_list(request).await.unwrap_err()
        }
        "RecordTracking" => {
            let (shipment_id, carrier, tracking_number) = (claim_id, "SF".into(), "SF1".into());
            let request = RecordTrackingRequest { request_id, shipment_id, carrier, tracking_number, events: vec![] };
            caller.logistics.record_tracking(request).await.unwrap_err()
        }
        _ => unreachable!(),
    }
}

/// Guidance that confirms the fault.
async fn confirmed(world: &World, claim: &Claim) {
    let outcome = GuidanceOutcome::Confirmed.into();
    let request =
        RecordGuidanceRequest { request_id: id(), claim_id: claim.claim_id.clone(), outcome, ..Default::default() };
    world.staff().claims.record_guidance(request).await.unwrap();
}

/// D1's claim, confirmed and sent in.
async fn sent_in(world: &World, serial: &str) -> (Claim, Shipment) {
    let claim = world.filed(serial, 20).await;
    confirmed(world, &claim).await;
    let (claim_ids, carrier) = (vec![claim.claim_id.clone()], "SF".into());
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier, ..Default::default() };
    let shipment = world.dealer("D1").logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap();
    (claim, shipment)
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_claim_looks_exactly_like_one_that_is_not_there() {
    let world = World::stocked().await;
    let (claim, shipment) = sent_in(&world, "UNIT1").await;
    let absent = Uuid::now_v7().to_string();
    let applicants = [
        "GetClaim",
        "ListClaimEvents",
        "CancelClaim",
        "AcceptQuote",
        "DeclineQuote",
        "ListQuotes",
        "AppealDecision",
        "OpenReturn",
        "GetShipment",
        "GetPackingList",
        "RecordTracking",
    ];
    for (mut caller, methods) in [
        (world.dealer("D2"), &[&applicants[..], &["RecordSwap"]].concat()),
        (world.customer(Uuid::from_u128(9)), &applicants.to_vec()),
    ] {
        for method in methods {
            let of_parcel = ["GetShipment", "GetPackingList", "RecordTracking"].contains(method);
            let theirs = if of_parcel { &shipment.shipment_id } else { &claim.claim_id };
            let refused = ask(&mut caller, method, theirs).await;
            assert_eq!(refusal(&refused), (Code::NotFound, "NOT_FOUND".into()), "{method}");
            assert_eq!(shown(&refused, theirs), shown(&ask(&mut caller, method, &absent).await, &absent), "{method}");
        }
    }
}

async fn listed(caller: &mut Caller) -> Vec<String> {
    let claims = caller.claims.list_claims(ListClaimsRequest::default()).await.unwrap().into_inner().claims;
    claims.into_iter().map(|claim| claim.serial).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_lists_its_own_claims() {
    let world = World::stocked().await;
    let buyer = world.filed("UNIT1", 20).await.customer_id.parse().unwrap();
    world.filed("UNIT2", 20).await;
    world.unit("UNIT3").await;
    let request = FileClaimRequest { customer: Some(contact()), vouchers: Some(invoice("F-UNIT3")), ..filing("UNIT3") };
    world.dealer("D2").claims.file_claim(request).await.unwrap();

    assert_eq!(listed(&mut world.dealer("D1")).await, ["UNIT2", "UNIT1"]);
    assert_eq!(listed(&mut world.dealer("D2")).await, ["UNIT3"]);
    assert_eq!(listed(&mut world.staff()).await, ["UNIT3", "UNIT2", "UNIT1"]);
    assert_eq!(listed(&mut world.customer(buyer)).await, ["UNIT1"]);
    assert_eq!(listed(&mut world.customer(Uuid::from_u128(9))).await, [""; 0]);

    let theirs = ListClaimsRequest { dealer_id: "D1".into(), ..Default::default() };
    let found = world.dealer("D2").claims.list_claims(theirs).await.unwrap().into_inner();
    assert_eq!(found.claims, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_bound_to_its_caller_and_its_filters() {
    let world = World::stocked().await;
    world.filed("UNIT1", 20).await;
    world.filed("UNIT2", 20).await;
    let first = ListClaimsRequest { page_size: 1, ..Default::default() };
    let page = world.dealer("D1").claims.list_claims(first.clone()).await.unwrap().into_inner();
    let next = ListClaimsRequest { page_token: page.next_page_token.clone(), page_size: 2, ..Default::default() };
    let second = world.dealer("D1").claims.list_claims(next.clone()).await.unwrap().into_inner();
    assert_eq!([&page.claims[0].serial, &second.claims[0].serial], ["UNIT2", "UNIT1"]);
    assert_eq!(second.next_page_token, "");

    let tampered = format!("{}A", page.next_page_token);
    let filtered = ListClaimsRequest { serial: "UNIT1".into(), ..next.clone() };
    for (mut caller, request) in [
        (world.dealer("D2"), next.clone()),
        (world.staff(), next.clone()),
        (world.dealer("D1"), filtered),
        (world.dealer("D1"), ListClaimsRequest { page_token: tampered, ..next.clone() }),
    ] {
        let refused = caller.claims.list_claims(request).await.unwrap_err();
        assert_eq!(paths(&refused), ["page_token"]);
    }
    let events = ListClaimEventsRequest {
        claim_id: page.claims[0].claim_id.clone(),
        page_token: page.next_page_token,
        ..Default::default()
    };
    assert_eq!(paths(&world.dealer("D1").claims.list_claim_events(events).await.unwrap_err()), ["page_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_names_customers_of_its_own_alone() {
    let world = World::stocked().await;
    let customer = world.sold("UNIT1", 20).await;
    world.unit("UNIT2").await;
    let named = Customer { customer: Some(customer::Customer::CustomerId(customer.to_string())) };
    let claim = FileClaimRequest { customer: Some(named.clone()), vouchers: Some(invoice("F9")), ..filing("UNIT2") };
    let sale = RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT2".into(),
        sold_date: Some(world.today(0)),
        customer: Some(named),
        ..Default::default()
    };
    for refused in [
        world.dealer("D2").claims.file_claim(claim.clone()).await.unwrap_err(),
        world.dealer("D2").registry.register_sale(sale).await.unwrap_err(),
    ] {
        assert_eq!(refusal(&refused), (Code::NotFound, "NOT_FOUND".into()));
        assert_eq!(refused.get_error_details().resource_info().unwrap().resource_type, "customer");
    }
    let filed = world.dealer("D1").claims.file_claim(claim).await.unwrap().into_inner().claim.unwrap();
    assert_eq!(filed.customer_id, customer.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_what_was_filed_for_him_and_leaves_it_to_who_filed_it() {
    let world = World::stocked().await;
    let (claim, _) = sent_in(&world, "UNIT1").await;
    let mut customer = world.customer(claim.customer_id.parse().unwrap());
    let seen = customer
        .claims
        .get_claim(GetClaimRequest { claim_id: claim.claim_id.clone(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(seen.into_inner().claim.unwrap().return_number.len(), 8);
    for method in ["CancelClaim", "AcceptQuote", "DeclineQuote", "AppealDecision", "OpenReturn"] {
        let refused = ask(&mut customer, method, &claim.claim_id).await;
        assert_eq!(refusal(&refused), (Code::PermissionDenied, "NOT_THE_APPLICANT".into()), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sale_and_the_contact_are_shown_to_seller_buyer_and_staff() {
    let world = World::stocked().await;
    let buyer = world.sold("UNIT1", 20).await;
    let repair = Repair { serial: "UNIT1".into(), completed_date: Some(world.today(-2)), ..Default::default() };
    let history = RecordHistoryRequest { request_id: id(), repairs: vec![repair], ..Default::default() };
    world.staff().registry.record_history(history).await.unwrap();
    for (mut caller, sees) in [
        (world.dealer("D1"), true),
        (world.customer(buyer), true),
        (world.staff(), true),
        (world.dealer("D2"), false),
        (world.customer(Uuid::from_u128(9)), false),
    ] {
        let request = GetUnitRequest { serial: "unit-1".into() };
        let answer = caller.registry.get_unit(request).await.unwrap().into_inner();
        assert_eq!(answer.unit.unwrap().serial, "UNIT1");
        assert_eq!(answer.repairs.len(), 1);
        assert_eq!(answer.sale.map(|sale| sale.invoice_number), sees.then(|| "F-UNIT1".to_owned()));
        assert_eq!(answer.customer.map(|contact| contact.name), sees.then(|| "王小明".to_owned()));
    }
}

// ---- vouchers and suspended dealers

fn invoice(number: &str) -> Vouchers {
    Vouchers { invoice_number: number.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_dealer_needs_the_voucher_of_the_sale() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    let mut other = world.dealer("D2");
    let with = |vouchers| FileClaimRequest { customer: Some(contact()), vouchers: Some(vouchers), ..filing("UNIT1") };

    let without = other.claims.file_claim(with(Vouchers::default())).await.unwrap_err();
    assert_eq!(refusal(&without), (Code::FailedPrecondition, "VOUCHER_REQUIRED".into()));
    let wrong = other.claims.file_claim(with(invoice("F-OTHER"))).await.unwrap_err();
    assert_eq!(refusal(&wrong), (Code::FailedPrecondition, "VOUCHER_MISMATCH".into()));
    let told = format!("{} {}", wrong.message(), String::from_utf8_lossy(wrong.details()));
    assert!(!told.contains("F-UNIT1"), "it says what would be right: {told}");
    let right = other.claims.file_claim(with(invoice("F-UNIT1"))).await.unwrap().into_inner().claim.unwrap();
    assert!(right.voucher_verified);

    world.unit("UNIT2").await;
    let unknown = FileClaimRequest { customer: Some(contact()), vouchers: Some(invoice("F-ANY")), ..filing("UNIT2") };
    let kept = other.claims.file_claim(unknown).await.unwrap().into_inner().claim.unwrap();
    assert!(!kept.voucher_verified, "no sale is registered to compare with");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_dealer_applies_for_nothing() {
    let world = World::stocked().await;
    let claim = world.filed("UNIT1", 5).await;
    confirmed(&world, &claim).await;
    world.unit("UNIT2").await;
    world.unit("GIVEN1").await;
    let status = DealerStatus::Suspended.into();
    let suspend = SetDealerStatusRequest { request_id: id(), dealer_id: "D1".into(), status, version: 1 };
    world.staff().registry.set_dealer_status(suspend).await.unwrap();

    let mut dealer = world.dealer("D1");
    let sale = RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT2".into(),
        sold_date: Some(world.today(0)),
        ..Default::default()
    };
    let file = FileClaimRequest { customer: Some(contact()), vouchers: Some(invoice("F")), ..filing("UNIT2") };
    for refused in [
        dealer.registry.register_sale(sale).await.unwrap_err(),
        dealer.claims.file_claim(file).await.unwrap_err(),
        ask(&mut dealer, "RecordSwap", &claim.claim_id).await,
    ] {
        assert_eq!(refusal(&refused), (Code::PermissionDenied, "DEALER_NOT_ACTIVE".into()));
    }
    // What was authorized before is still sent in: else the customer's unit could never be claimed for again.
    let claim_ids = vec![claim.claim_id.clone()];
    let open = OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), ..Default::default() };
    dealer.logistics.open_return(open).await.unwrap();
    dealer.claims.get_claim(GetClaimRequest { claim_id: claim.claim_id, ..Default::default() }).await.unwrap();
}

// ---- the database's own walls

const ROLES: [&str; 3] = ["warranty_coverage", "warranty_claim", "warranty_logistics"];
const TENANTS_TABLES: [&str; 10] = [
    "claims",
    "claim_events",
    "claim_decisions",
    "shipments",
    "shipment_items",
    "people",
    "request_log",
    "evidence",
    "evidence_uploads",
    "evidence_chunks",
];

/// The owner's login under a process's role, for a caller where one is given.
async fn under(world: &World, role: &str, caller: Option<&str>) -> PgConnection {
    let mut connection = world.owner().await;
    let caller = caller.map_or(String::new(), |caller| format!("; SET warranty.caller = '{caller}'"));
    let set = AssertSqlSafe(format!("SET ROLE {role}{caller}"));
    sqlx::raw_sql(set).execute(&mut connection).await.unwrap();
    connection
}

/// How many rows a table shows; none where the role may not read it at all.
async fn rows(connection: &mut PgConnection, table: &str) -> Option<i64> {
    let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
    match count.fetch_one(connection).await {
        Ok(count) => Some(count),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => None,
        Err(error) => panic!("{table}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_rows_are_hidden_by_the_database_itself() {
    let world = World::stocked().await;
    let (claim, _) = sent_in(&world, "UNIT1").await;
    Sent::new(&claim, photo(500, 1)).whole(&mut world.dealer("D1")).await.unwrap();
    let begun = Sent::new(&claim, photo(500, 2)).chunk(0, 100);
    world.dealer("D1").claims.add_evidence(begun).await.unwrap();
    let mut owner = world.owner().await;
    for table in TENANTS_TABLES {
        assert!(rows(&mut owner, table).await > Some(0), "{table} holds something to hide");
    }
    for role in ROLES {
        for caller in [None, Some("dealer/D2"), Some("customer/00000000-0000-4000-8000-000000000009"), Some("")] {
            let mut connection = under(&world, role, caller).await;
            for table in TENANTS_TABLES {
                let seen = rows(&mut connection, table).await;
                assert!(matches!(seen, None | Some(0)), "{role} for {caller:?} sees {seen:?} of {table}");
            }
        }
    }
    // Its own rows it sees, as far as the process has use for them; the requests of the sale, the claim, the return, two chunks.
    for (role, seen) in [
        ("warranty_coverage", [Some(1), Some(4), Some(2), Some(1), Some(1), Some(1), Some(5), Some(1), Some(1), None]),
        ("warranty_claim", [Some(1), Some(4), Some(2), None, None, None, Some(5), Some(1), Some(1), Some(1)]),
        ("warranty_logistics", [Some(1), Some(4), Some(2), Some(1), Some(1), Some(1), Some(5), None, None, None]),
    ] {
        let mut own = under(&world, role, Some("dealer/D1")).await;
        for (table, seen) in TENANTS_TABLES.into_iter().zip(seen) {
            assert_eq!(rows(&mut own, table).await, seen, "{role}: its own {table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_writes_is_its_own_by_the_database_itself() {
    let world = World::stocked().await;
    let claim = sent_in(&world, "UNIT1").await.0.claim_id;
    let mut other = under(&world, "warranty_logistics", Some("dealer/D2")).await;
    let own = "INSERT INTO shipments (shipment_id, direction, dealer_id, carrier, opened_at)
        VALUES ('00000000-0000-4000-8000-000000000001', 'INBOUND', 'D2', 'SF', now())";
    sqlx::raw_sql(own).execute(&mut other).await.unwrap();
    let place = format!(
        "INSERT INTO shipment_items (shipment_id, claim_id, payer, clause)
         VALUES ('00000000-0000-4000-8000-000000000001', '{claim}', 'SENDER', 'M5')"
    );
    let debt = format!(
        "INSERT INTO ledger_entries (claim_id, debtor, number, dealer_id, kind, owed, remedy, due_on, recorded_at, recorded_by)
         VALUES ('{claim}', 'MAKER', 1, 'D2', 'OPENED', 'GOOD_UNIT', 'DIRECT_REPLACEMENT', '2026-12-01', now(), 'dealer/D2')"
    );
    // Nor does a dealer say that what it owes on its own claim is owed no more.
    let given_up = debt.replace("'D2'", "'D1'").replace("dealer/D2", "dealer/D1").replace("'OPENED'", "'WRITTEN_OFF'");
    let mut debtor = under(&world, "warranty_logistics", Some("dealer/D1")).await;
    let refused = sqlx::raw_sql(AssertSqlSafe(given_up)).execute(&mut debtor).await.unwrap_err().to_string();
    assert!(refused.contains("policy \"ledger_of_the_claims_dealer\""), "{refused}");
    let whom = "INSERT INTO shipments (shipment_id, direction, dealer_id, carrier, recipient_id, opened_at)
        SELECT gen_random_uuid(), 'OUTBOUND', 'D2', 'SF', customer_id, now() FROM customers";
    for (written, policy) in [
        (whom, "shipments_from_the_maker"),
        (place.as_str(), "items_of_claims_seen"),
        (debt.as_str(), "ledger_of_the_claims_dealer"),
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(written)).execute(&mut other).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("policy \"{policy}\"")), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_shown_with_their_claim_and_the_feed_to_staff_alone() {
    let world = World::stocked().await;
    let life = Life(&world);
    let claim = life.in_state("UNIT1", 20, ClaimState::Quoted).await;
    life.accept(&claim.claim_id, &claim.quote_id).await.unwrap();
    life.repair(&claim.claim_id).await.unwrap();
    let buyer = format!("customer/{}", claim.customer_id);
    for (caller, seen) in [
        (None, [Some(0), Some(0)]),
        (Some(""), [Some(0), Some(0)]),
        (Some("dealer/D2"), [Some(0), Some(0)]),
        (Some("dealer/D1"), [Some(1), Some(0)]),
        (Some(buyer.as_str()), [Some(1), Some(0)]),
        (Some("staff/S1"), [Some(1), Some(1)]),
    ] {
        let mut connection = under(&world, "warranty_claim", caller).await;
        let found = [rows(&mut connection, "quotes").await, rows(&mut connection, "billables").await];
        assert_eq!(found, seen, "{caller:?}");
    }
    let copied = "INSERT INTO quotes SELECT (jsonb_populate_record(q, jsonb_build_object('quote_id', gen_random_uuid(),
        'state', 'SUPERSEDED', 'on_behalf_of', NULL, 'token_fingerprint', NULL))).* FROM quotes q";
    for (caller, may) in [("dealer/D1", Some("42501")), ("staff/S1", None)] {
        let mut connection = under(&world, "warranty_claim", Some(caller)).await;
        let issued = sqlx::raw_sql(copied).execute(&mut connection).await.err();
        let code = issued.and_then(|error| error.as_database_error().and_then(|error| error.code().map(String::from)));
        assert_eq!(code.as_deref(), may, "{caller} issues a quote");
    }
    for role in ["warranty_coverage", "warranty_logistics"] {
        let mut connection = under(&world, role, Some("staff/S1")).await;
        let found = [rows(&mut connection, "quotes").await, rows(&mut connection, "billables").await];
        assert_eq!(found, [None, None], "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_ends_what_a_day_ended_and_nothing_else() {
    let world = World::stocked().await;
    Life(&world).in_state("UNIT1", 20, ClaimState::Quoted).await;
    Life(&world).in_state("UNIT2", 20, ClaimState::InRepair).await;
    for forbidden in [
        "UPDATE claims SET state = 'IN_REPAIR' WHERE state = 'QUOTED'",
        "UPDATE quotes SET total_fen = 0",
        "SELECT reply FROM request_log",
        "SELECT name FROM people",
        "SELECT facts FROM claim_events",
        "SELECT sequence FROM billables",
        "INSERT INTO claim_events SELECT claim_id, 9, '{}', 'READY', now(), 'staff/S1' FROM claims LIMIT 1",
    ] {
        let mut worker = under(&world, "warranty_worker", Some("worker/clock")).await;
        let refused = sqlx::raw_sql(AssertSqlSafe(forbidden)).execute(&mut worker).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}");
    }
    let mut worker = under(&world, "warranty_worker", Some("worker/clock")).await;
    let other = sqlx::raw_sql("UPDATE claims SET paid = true WHERE state = 'IN_REPAIR'").execute(&mut worker).await;
    assert_eq!(other.unwrap().rows_affected(), 0, "what is being repaired is not its work");
    // No token gives its name.
    let bearer = world.bearer(&Actor::Worker("clock".into()), "claims.read claims.apply billing.write");
    let service = InterceptedService::new(channel(world.claim), bearer);
    let refused = call_empty(service, "ClaimService/ListClaims").await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "TOKEN_REFUSED".into()));
}

/// What a role may not do, each refused by the database for want of a right or by a policy.
async fn forbidden(world: &World, role: &str, caller: &str, statements: &[&str]) {
    for statement in statements {
        let mut connection = under(world, role, Some(caller)).await;
        let refused = sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&mut connection).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{role} for {caller}: {statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_reads_what_it_needs_of_what_has_no_policy() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    let sales =
        ["SELECT dealer_id FROM sales", "SELECT FROM faults", "SELECT FROM contracts", "SELECT FROM product_versions"];
    forbidden(&world, "warranty_logistics", "staff/S1", &sales).await;
    // Vouchers are held against a sale; who recorded it, and why, is nothing to a claim.
    let of_sales =
        ["SELECT recorded_by FROM sales", "SELECT reason FROM sales", "SELECT * FROM sales", "SELECT FROM contracts"];
    forbidden(&world, "warranty_claim", "staff/S1", &of_sales).await;
    forbidden(&world, "warranty_coverage", "staff/S1", &["SELECT FROM faults"]).await;
    let mut claim = under(&world, "warranty_claim", Some("dealer/D2")).await;
    let vouchers = sqlx::raw_sql(
        "SELECT serial, dealer_id, customer_id, sold_on, invoice_number, warranty_card_number FROM sales",
    );
    assert_eq!(vouchers.execute(&mut claim).await.unwrap().rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_a_unit_is_no_right_to_change_it() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    for role in ROLES {
        forbidden(&world, role, "staff/S1", &["UPDATE units SET lot = 'L9'", "UPDATE units SET sold_by_maker = false"])
            .await;
        let mut connection = under(&world, role, Some("staff/S1")).await;
        sqlx::raw_sql("SELECT FROM units FOR NO KEY UPDATE; UPDATE units SET held = NULL")
            .execute(&mut connection)
            .await
            .unwrap();
        let refused = sqlx::raw_sql("UPDATE units SET held = true").execute(&mut connection).await.unwrap_err();
        let by = refused.as_database_error().and_then(|error| error.constraint());
        assert_eq!(by, Some("units_held_is_null"), "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_added_by_staff_and_never_changed() {
    let world = World::start().await;
    world.priced().await;
    for change in ["UPDATE prices SET amount_fen = 1", "UPDATE vat_rates SET basis_points = 0", "DELETE FROM prices"] {
        forbidden(&world, "warranty_claim", "staff/S1", &[change]).await;
    }
    let price = "INSERT INTO prices (kind, code, valid_from, number, set_at, set_by) VALUES ('PART', 'X', now(), 1, now(), 'staff/S1')";
    let vat = "INSERT INTO vat_rates (valid_from, number, basis_points, set_at, set_by) VALUES (now(), 9, 0, now(), 'staff/S1')";
    for caller in ["dealer/D1", "", "staff/S2"] {
        forbidden(&world, "warranty_claim", caller, &[price, vat]).await;
    }
    let mut staff = under(&world, "warranty_claim", Some("staff/S1")).await;
    sqlx::raw_sql(AssertSqlSafe(format!("{price}; {vat}"))).execute(&mut staff).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_forgets_and_lets_go_only_what_is_over() {
    let world = World::stocked().await;
    world.sold("UNIT1", 20).await;
    let claim = Life(&world).in_state("UNIT2", 60, ClaimState::InRepair).await.claim_id;
    let shelves = Shelves(&world);
    shelves.put("EAST", false).await;
    world.unit("GOOD1").await;
    shelves.receive(&["GOOD1"], "EAST", StockCondition::New).await.unwrap();
    shelves.allocate(&claim).await.unwrap();
    let mut owner = world.owner().await;
    let mut worker = under(&world, "warranty_worker", Some("worker/clock")).await;
    // As the database tells the time: the newest of a role's rights cannot lie on the caller's.
    for (age, over) in [("89 days", 0), ("91 days", 1)] {
        let aged = format!("UPDATE request_log SET recorded_at = now() - interval '{age}'");
        let requests = sqlx::raw_sql(AssertSqlSafe(aged)).execute(&mut owner).await.unwrap().rows_affected();
        let gone = sqlx::raw_sql("DELETE FROM request_log").execute(&mut worker).await.unwrap().rows_affected();
        assert_eq!(gone, over * requests, "requests of {age}");
    }
    for (until, over) in [("now() + interval '1 hour'", 0), ("now() - interval '1 hour'", 1)] {
        let held = format!("UPDATE stock_units SET held_until = {until} WHERE held_for IS NOT NULL");
        assert_eq!(sqlx::raw_sql(AssertSqlSafe(held)).execute(&mut owner).await.unwrap().rows_affected(), 1);
        let let_go =
            sqlx::raw_sql("UPDATE stock_units SET held_for = NULL, held_until = NULL WHERE held_for IS NOT NULL");
        assert_eq!(let_go.execute(&mut worker).await.unwrap().rows_affected(), over, "held until {until}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_what_happened() {
    let world = World::stocked().await;
    world.filed("UNIT1", 5).await;
    for role in ROLES {
        for table in ["claim_events", "claim_decisions"] {
            for change in [format!("DELETE FROM {table}"), format!("UPDATE {table} SET facts = '{{}}'")] {
                let mut connection = under(&world, role, Some("staff/S1")).await;
                let refused = sqlx::raw_sql(AssertSqlSafe(change.clone())).execute(&mut connection).await.unwrap_err();
                let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
                assert_eq!(code.as_deref(), Some("42501"), "{role}: {change}");
            }
        }
    }
}

/// Everything that a role may write: tables by INSERT, UPDATE (with the columns where not all), DELETE.
async fn may_write(owner: &mut PgConnection, role: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT privilege || ' ' || relname || CASE
                    WHEN has_table_privilege($1, c.oid, privilege) THEN ''
                    ELSE (SELECT '(' || string_agg(attname, ', ' ORDER BY attname) || ')' FROM pg_attribute
                           WHERE attrelid = c.oid AND attnum > 0 AND has_column_privilege($1, c.oid, attnum, 'UPDATE')) END
           FROM pg_class c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) privilege
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
            AND (has_table_privilege($1, c.oid, privilege)
                 OR privilege = 'UPDATE' AND has_any_column_privilege($1, c.oid, 'UPDATE'))
          ORDER BY privilege, relname",
    )
    .bind(role)
    .fetch_all(owner)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_write_what_it_needs_and_no_more() {
    let world = World::start().await;
    let mut owner = world.owner().await;
    for (role, inserts, updates, deletes) in [
        (
            "warranty_coverage",
            "calendar_years contract_versions contracts customers dealer_promises dealers evidence_uploads people policies product_equivalents \
             product_versions products repairs replacements request_log sales units",
            "contract_versions(superseded_at) customers(erased_at) dealers(credit_terms, debt_limit, status, version) evidence(erased_at) evidence_uploads(began_at) products(discontinued) \
             sales(superseded_at) units(held)",
            "people product_equivalents",
        ),
        (
            "warranty_claim",
            "billables claim_decisions claim_events claims customers evidence evidence_chunks evidence_uploads faults \
             ledger_entries people prices quotes repairs replacements request_log stock_movements stock_units vat_rates",
            "claims evidence_uploads(began_at) faults \
             quotes(decided_at, decided_by, expires_at, on_behalf_of, reason, state, token_fingerprint) \
             stock_units(held_for, held_until) units(held)",
            "evidence_uploads stock_units",
        ),
        (
            "warranty_worker",
            "claim_decisions claim_events",
            "claims evidence_uploads(began_at) quotes(decided_at, decided_by, on_behalf_of, reason, state, token_fingerprint) \
             stock_units(held_for, held_until)",
            "evidence_uploads request_log",
        ),
        (
            "warranty_logistics",
            "billables claim_decisions claim_events customers freight_entries ledger_entries people replacements request_log set_aside shipment_items shipments stock_locations \
             stock_minimums stock_movements stock_units tracking_events units",
            "claims set_aside(claim_id, reason, settled_at, settled_by, settlement, version) \
             shipment_items(arrived_at, depot, lost_at, missing_parts, transport_damage) shipments(carrier, tracking_number) \
             stock_locations(name, receives_replaced) stock_minimums(minimum) \
             stock_units(condition, held_for, held_until, location, number) units(held)",
            "stock_minimums stock_units",
        ),
        ("warranty_ratelimit", "rate_counters", "rate_counters", "rate_counters"),
    ] {
        let mut expected: Vec<String> = deletes.split_whitespace().map(|table| format!("DELETE {table}")).collect();
        expected.extend(inserts.split(' ').map(|table| format!("INSERT {table}")));
        let joined = updates.replace(", ", ",");
        expected.extend(joined.split(' ').map(|table| format!("UPDATE {}", table.replace(',', ", "))));
        assert_eq!(may_write(&mut owner, role).await, expected, "{role}");
    }
}

// ---- bad input

/// The paths of bad input, each once, in the order told.
fn paths(status: &Status) -> Vec<String> {
    assert_eq!(refusal(status), (Code::InvalidArgument, "INVALID_FIELDS".into()), "{}", status.message());
    let mut paths: Vec<String> = violations(status).into_iter().map(|(path, _)| path).collect();
    paths.dedup();
    paths
}

fn bad<T: Debug>(answer: Result<Response<T>, Status>, expected: &[&str]) {
    assert_eq!(paths(&answer.unwrap_err()), expected);
}

fn too_large<T: Debug>(answer: Result<Response<T>, Status>) {
    assert_eq!(refusal(&answer.unwrap_err()), (Code::ResourceExhausted, "TOO_LARGE".into()));
}

/// How many rows each table has.
async fn everything(world: &World) -> Vec<(String, i64)> {
    let mut owner = world.owner().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let mut counts = Vec::new();
    for table in tables {
        let count = rows(&mut owner, &table).await.unwrap();
        counts.push((table, count));
    }
    counts
}

fn nil() -> String {
    Uuid::nil().to_string()
}

fn long(length: usize) -> String {
    "长".repeat(length)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let mut dealer = world.dealer("D1");
    let person = Contact { name: String::new(), telephone: "1".repeat(31), address: "somewhere\u{7}else".to_owned() };
    let customer = Some(Customer { customer: Some(customer::Customer::Contact(person)) });
    let report = FaultReport {
        part: 9,
        fault_code: "no power".into(),
        appearance: -1,
        region_of_use: "CN".into(),
        ..Default::default()
    };
    let vouchers = Vouchers { invoice_number: long(65), warranty_card_number: "a\0b".into(), ..Default::default() };
    let request = FileClaimRequest {
        request_id: nil(),
        serial: "ＡＢＣ＿１２".into(),
        report: Some(report),
        customer,
        vouchers: Some(vouchers),
        language: 9,
    };
    let contact = ["customer.contact.name", "customer.contact.telephone", "customer.contact.address"];
    let told = ["report.part", "report.fault_code", "report.appearance", "report.region_of_use"];
    let given = ["vouchers.invoice_number", "vouchers.warranty_card_number"];
    let all = [&["request_id", "serial"][..], &told, &contact, &given, &["language"]].concat();
    bad(dealer.claims.file_claim(request).await, &all);

    let named = Customer { customer: Some(customer::Customer::CustomerId("me".into())) };
    let request = FileClaimRequest { customer: Some(named.clone()), ..filing("UNIT1") };
    bad(dealer.claims.file_claim(request).await, &["customer.customer_id"]);
    let himself = FileClaimRequest { customer: Some(crate::world::contact()), ..filing("UNIT1") };
    bad(world.customer(Uuid::from_u128(9)).claims.file_claim(himself).await, &["customer"]);

    let cancel = CancelClaimRequest { request_id: "1".into(), claim_id: "x".into(), version: -1, reason: long(501) };
    bad(dealer.claims.cancel_claim(cancel).await, &["request_id", "claim_id", "version", "reason"]);
    bad(
        dealer.claims.record_swap(RecordSwapRequest { version: -1, ..Default::default() }).await,
        &["request_id", "claim_id", "version", "given_serial"],
    );
    let request = ListClaimsRequest {
        page_size: 501,
        page_token: "!".into(),
        states: vec![1, 0, 16],
        serial: "１".into(),
        dealer_id: "D 1".into(),
        language: 9,
        ..Default::default()
    };
    let expected = ["page_size", "page_token", "states[1]", "states[2]", "serial", "dealer_id", "language"];
    bad(dealer.claims.list_claims(request).await, &expected);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_staff_write_badly_on_a_claim_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let claim = world.filed("UNIT1", 5).await;
    let before = everything(&world).await;
    let mut staff = world.staff();
    let (request_id, claim_id) = (nil(), "7".to_owned());
    let head = ["request_id", "claim_id", "version"];

    let tomorrow = Timestamp { seconds: world.clock.now().timestamp() + 1, nanos: 0 };
    let report = FaultReport { part: -1, ..Default::default() };
    let request = RecordGuidanceRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version: -1,
        outcome: 9,
        reason: long(501),
        contact_time: Some(tomorrow),
        report: Some(report),
        symptoms: Vec::new(),
    };
    let rest = ["outcome", "reason", "contact_time", "report.part"];
    bad(staff.claims.record_guidance(request).await, &[&head[..], &rest].concat());
    let year_0 = Timestamp { seconds: -62_167_219_200, nanos: 0 };
    let denied = FaultReport { performance_fault: Some(false), ..Default::default() };
    for (outcome, contact_time, report, expected) in [
        (GuidanceOutcome::Waived, None, None, vec!["reason"]),
        (GuidanceOutcome::Rejected, Some(year_0), None, vec!["contact_time", "reason"]),
        (GuidanceOutcome::Confirmed, None, Some(denied), vec!["report.performance_fault"]),
        (
            GuidanceOutcome::Unspecified,
            Some(Timestamp { seconds: 0, nanos: -1 }),
            None,
            vec!["outcome", "contact_time"],
        ),
    ] {
        let (request_id, claim_id) = (id(), claim.claim_id.clone());
        let outcome = outcome.into();
        let request =
            RecordGuidanceRequest { request_id, claim_id, outcome, contact_time, report, ..Default::default() };
        bad(staff.claims.record_guidance(request).await, &expected);
    }

    let request = RecordInspectionRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version: i64::MIN,
        no_fault_found: false,
        findings: vec![Clause::X1.into(), Clause::X2.into(), Clause::T1.into(), 99, 0],
        report: Some(FaultReport { region_of_use: "CN-GD".into(), ..Default::default() }),
    };
    let rest = ["findings[1]", "findings[2]", "findings[3]", "findings[4]", "report.region_of_use"];
    bad(staff.claims.record_inspection(request).await, &[&head[..], &rest].concat());
    let request = RecordRepairRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version: -1,
        completed_date: Some(world.today(1)),
        fault_code: "A".repeat(33),
    };
    bad(staff.claims.record_repair(request).await, &[&head[..], &["completed_date", "fault_code"]].concat());
    let request =
        RecordReplacementRequest { request_id, claim_id, version: -1, given_serial: "A-B".into(), reason: "\0".into() };
    bad(staff.claims.record_replacement(request).await, &[&head[..], &["given_serial", "reason"]].concat());
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_entry_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let mut staff = world.staff();
    let request_id = nil();

    let equivalent_models = vec!["ps-1".into(), String::new(), String::new()];
    let product = Product { model: "ps-1".into(), product_type: 6, equivalent_models, ..Default::default() };
    let request = CreateProductRequest { request_id: request_id.clone(), product: Some(product) };
    let equivalents = [0, 1, 2].map(|at| format!("product.equivalent_models[{at}]"));
    let expected = ["request_id", "product.model", "product.product_type"];
    let expected: Vec<&str> = expected.into_iter().chain(equivalents.iter().map(String::as_str)).collect();
    bad(staff.registry.create_product(request).await, &expected);

    let request = CreateDealerRequest { request_id: request_id.clone(), dealer_id: "D 1".into(), name: " ".into() };
    bad(staff.registry.create_dealer(request).await, &["request_id", "dealer_id", "name"]);
    let request = SetDealerStatusRequest { request_id: request_id.clone(), dealer_id: long(3), status: 3, version: -1 };
    bad(staff.registry.set_dealer_status(request).await, &["request_id", "dealer_id", "version", "status"]);

    let terms =
        ContractTerms { replacement_days: Some(3651), repair_months: Some(-1), territory: 3, ..Default::default() };
    let contract_number = "HT 1".to_owned();
    let request = CreateContractRequest {
        request_id: request_id.clone(),
        contract_number: contract_number.clone(),
        terms: Some(terms),
    };
    let expected =
        ["request_id", "contract_number", "terms.replacement_days", "terms.repair_months", "terms.territory"];
    bad(staff.registry.create_contract(request).await, &expected);
    let request = CreateContractRequest { request_id: id(), contract_number: "HT".into(), terms: None };
    bad(staff.registry.create_contract(request).await, &["terms"]);

    let expected = ["request_id", "contract_number", "from_date", "reason", "version"];
    let (from_date, reason) = (Some(world.today(1)), String::new());
    let request = ConfirmContractRequest {
        request_id: request_id.clone(),
        contract_number: contract_number.clone(),
        from_date,
        reason,
        version: -1,
    };
    bad(staff.registry.confirm_contract(request).await, &expected);
    let from_date = Some(Date { year: 0, month: 6, day: 15 });
    let request = RevokeContractRequest { request_id, contract_number, from_date, reason: long(501), version: -1 };
    bad(staff.registry.revoke_contract(request).await, &expected);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_badly_written_are_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let mut staff = world.staff();

    let strange = Unit {
        serial: "A\nB12".into(),
        model: "-1".into(),
        lot: long(41),
        manufactured_date: Some(world.today(1)),
        ex_factory_date: Some(Date { year: 2026, month: 2, day: 30 }),
        refurbished_from: "?".into(),
        ..Default::default()
    };
    let day = Some(world.today(-1));
    let again = Unit {
        serial: "ＳＮ－９９".into(),
        model: "PS-1".into(),
        manufactured_date: Some(world.today(0)),
        ex_factory_date: day,
        refurbished_from: "sn99".into(),
        ..Default::default()
    };
    let twice = Unit { ex_factory_date: Some(world.today(0)), refurbished_from: String::new(), ..again.clone() };
    let units = vec![strange, again, twice.clone()];
    let request = RegisterUnitsRequest { request_id: "no".into(), units };
    let expected = [
        "request_id",
        "units[0].serial",
        "units[0].model",
        "units[0].lot",
        "units[0].ex_factory_date",
        "units[0].refurbished_from",
        "units[0].manufactured_date",
        "units[1].ex_factory_date",
        "units[1].refurbished_from",
        "units[2].serial",
    ];
    bad(staff.registry.register_units(request).await, &expected);
    bad(staff.registry.register_units(RegisterUnitsRequest { request_id: id(), units: vec![] }).await, &["units"]);
    let request = RegisterUnitsRequest { request_id: id(), units: vec![twice; 1001] };
    too_large(staff.registry.register_units(request).await);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    world.unit("UNIT1").await;
    let before = everything(&world).await;
    let mut dealer = world.dealer("D1");
    let request = RegisterSaleRequest {
        request_id: nil(),
        serial: long(5),
        dealer_id: "D2".into(),
        sold_date: Some(world.today(1)),
        invoice_number: long(65),
        warranty_card_number: "1\u{1b}[2J".into(),
        region: "CN".into(),
        contract_number: "a b".into(),
        customer: Some(Customer { customer: Some(customer::Customer::CustomerId(String::new())) }),
        version: -1,
        ..Default::default()
    };
    let expected = [
        "request_id",
        "serial",
        "dealer_id",
        "sold_date",
        "invoice_number",
        "warranty_card_number",
        "region",
        "contract_number",
        "customer.customer_id",
        "version",
    ];
    bad(dealer.registry.register_sale(request).await, &expected);
    for sold_date in [None, Some(date("2026-01-09")), Some(Date { year: 0, month: 0, day: 0 })] {
        let request = RegisterSaleRequest { request_id: id(), serial: "UNIT1".into(), sold_date, ..Default::default() };
        bad(dealer.registry.register_sale(request).await, &["sold_date"]);
    }
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let mut staff = world.staff();
    let repair = Repair {
        serial: "1".into(),
        completed_date: Some(world.today(1)),
        fault_code: "a".into(),
        claim_id: id(),
        ..Default::default()
    };
    let replacements = vec![Replacement { replaced_date: Some(world.today(1)), ..Default::default() }];
    let request = RecordHistoryRequest { request_id: nil(), repairs: vec![repair.clone()], replacements };
    let expected = [
        "request_id",
        "repairs[0].serial",
        "repairs[0].fault_code",
        "repairs[0].completed_date",
        "repairs[0].claim_id",
        "replacements[0].replaced_serial",
        "replacements[0].replacement_serial",
        "replacements[0].replaced_date",
    ];
    bad(staff.registry.record_history(request).await, &expected);
    let nothing = RecordHistoryRequest { request_id: id(), ..Default::default() };
    bad(staff.registry.record_history(nothing).await, &["repairs"]);
    let request = RecordHistoryRequest { request_id: id(), repairs: vec![repair; 1001], replacements: vec![] };
    too_large(staff.registry.record_history(request).await);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let claim_id = id();

    let (request_id, tracking_number) = (nil(), long(61));
    let request = OpenReturnRequest {
        request_id: request_id.clone(),
        claim_ids: vec![claim_id.clone(), "x".into(), claim_id.to_uppercase()],
        carrier: " ".into(),
        tracking_number: tracking_number.clone(),
    };
    let expected = ["request_id", "claim_ids[1]", "claim_ids[2]", "carrier", "tracking_number"];
    bad(dealer.logistics.open_return(request).await, &expected);
    let request = OpenReturnRequest { request_id: id(), carrier: "SF".into(), ..Default::default() };
    bad(dealer.logistics.open_return(request).await, &["claim_ids"]);
    let claim_ids = (0..201).map(|_| id()).collect();
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), ..Default::default() };
    too_large(dealer.logistics.open_return(request).await);

    let strange = ReceivedItem {
        return_number: long(41),
        serial: long(65),
        appearance: 3,
        seal: 4,
        missing_parts: long(201),
        transport_damage: true,
    };
    let good = ReceivedItem { return_number: "1000-0010 ".into(), serial: "UNIT1".into(), ..Default::default() };
    let request = ReceiveReturnRequest {
        request_id: request_id.clone(),
        shipment_id: "x".into(),
        items: vec![strange; 1],
        ..Default::default()
    };
    let item =
        ["return_number", "serial", "appearance", "seal", "missing_parts"].map(|name| format!("items[0].{name}"));
    let item: Vec<&str> = item.iter().map(String::as_str).collect();
    bad(staff.logistics.receive_return(request).await, &[&["request_id", "shipment_id"][..], &item].concat());
    let request = ReceiveReturnRequest { request_id: id(), shipment_id: id(), items: vec![], ..Default::default() };
    bad(staff.logistics.receive_return(request).await, &["items"]);
    too_large(
        staff
            .logistics
            .receive_return(ReceiveReturnRequest {
                request_id: id(),
                shipment_id: id(),
                items: vec![good; 201],
                ..Default::default()
            })
            .await,
    );

    let item = |claim_id: &str, given: &str| DispatchItem { claim_id: claim_id.into(), given_serial: given.into() };
    let items = vec![item(&claim_id, "?"), item(&claim_id, "")];
    let request =
        DispatchOutboundRequest { request_id, items, carrier: "S\tF".into(), tracking_number, recipient: None };
    let expected = ["request_id", "items[0].given_serial", "items[1].claim_id", "carrier", "tracking_number"];
    bad(staff.logistics.dispatch_outbound(request).await, &expected);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_parcel_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let request = ConfirmDeliveryRequest { claim_ids: vec!["x".into()], ..Default::default() };
    bad(staff.logistics.confirm_delivery(request).await, &["request_id", "shipment_id", "claim_ids[0]"]);
    let request = RecordLossRequest { reason: long(501), claim_ids: vec!["x".into()], ..Default::default() };
    let expected = ["request_id", "shipment_id", "claim_ids[0]", "reason"];
    bad(staff.logistics.record_loss(request).await, &expected);
    let request = CloseLostRequest { version: -1, ..Default::default() };
    bad(staff.logistics.close_lost(request).await, &["request_id", "claim_id", "version", "reason"]);
    let request = SettleSetAsideRequest { claim_id: "x".into(), serial: "?".into(), ..Default::default() };
    let expected = ["request_id", "set_aside_id", "settlement", "claim_id", "serial", "reason"];
    bad(staff.logistics.settle_set_aside(request).await, &expected);
    let request = ListSetAsideRequest { shipment_id: "x".into(), page_size: -1, ..Default::default() };
    bad(staff.logistics.list_set_aside(request).await, &["page_size", "shipment_id"]);
    let request = ListShipmentsRequest {
        direction: 3,
        dealer_id: "?".into(),
        claim_id: "x".into(),
        page_size: 501,
        page_token: "?".into(),
        ..Default::default()
    };
    let expected = ["page_size", "page_token", "direction", "dealer_id", "claim_id"];
    bad(staff.logistics.list_shipments(request).await, &expected);
    let tomorrow = Some(Timestamp { seconds: world.clock.now().timestamp() + 86_400, nanos: 0 });
    let strange = TrackingEvent { event_key: long(65), status: 9, place: long(101), event_time: tomorrow };
    let events = vec![strange, TrackingEvent::default()];
    let request = RecordTrackingRequest { shipment_id: "x".into(), events, ..Default::default() };
    let expected = [
        "request_id",
        "shipment_id",
        "carrier",
        "tracking_number",
        "events[0].event_key",
        "events[0].status",
        "events[0].place",
        "events[0].event_time",
        "events[1].event_key",
        "events[1].status",
        "events[1].event_time",
    ];
    bad(dealer.logistics.record_tracking(request).await, &expected);
    let events = vec![TrackingEvent::default(); 101];
    too_large(dealer.logistics.record_tracking(RecordTrackingRequest { events, ..Default::default() }).await);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let (request_id, claim_id, quote_id, version) = (nil(), "x".to_owned(), "y".to_owned(), -1);
    let reason = long(501);
    let wrong = QuoteLineChange { kind: 9, code: "a".into(), quantity: -1, unit_price: euro(), reason: reason.clone() };
    let twice =
        QuoteLineChange { kind: PriceKind::Inspection.into(), code: "X".into(), quantity: 1_001, ..Default::default() };
    let unnamed = QuoteLineChange { kind: PriceKind::Part.into(), ..Default::default() };
    let changes = vec![wrong, twice.clone(), twice, unnamed.clone()];
    let request = QuoteRepairRequest { request_id: request_id.clone(), claim_id: claim_id.clone(), version, changes };
    let expected = [
        "request_id",
        "claim_id",
        "version",
        "changes[0].kind",
        "changes[0].code",
        "changes[0].quantity",
        "changes[0].unit_price",
        "changes[0].reason",
        "changes[1].code",
        "changes[1].quantity",
        "changes[2].code",
        "changes[2].quantity",
        "changes[3].code",
    ];
    bad(staff.claims.quote_repair(request).await, &expected);
    let changes = vec![unnamed; 51];
    let request = QuoteRepairRequest { request_id: id(), claim_id: id(), version: 0, changes };
    too_large(staff.claims.quote_repair(request).await);

    let named = ["request_id", "claim_id", "version"];
    let request = AcceptQuoteRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version,
        quote_id: quote_id.clone(),
    };
    bad(dealer.claims.accept_quote(request).await, &[&named[..], &["quote_id"]].concat());
    let request = DeclineQuoteRequest { request_id, claim_id: claim_id.clone(), version, quote_id, reason };
    bad(dealer.claims.decline_quote(request).await, &[&named[..], &["quote_id", "reason"]].concat());
    let request = ListQuotesRequest { claim_id, page_size: 501, page_token: "?".into() };
    bad(staff.claims.list_quotes(request).await, &["page_size", "page_token", "claim_id"]);
    assert_eq!(everything(&world).await, before);
}

fn euro() -> Option<Money> {
    Some(Money { currency_code: "EUR".into(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_or_an_appeal_badly_written_is_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let (mut dealer, mut staff) = (world.dealer("D1"), world.staff());
    let (request_id, claim_id, version, reason) = (nil(), "x".to_owned(), -1, long(501));
    let named = ["request_id", "claim_id", "version"];
    let request = RecordPaymentRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version,
        amount: euro(),
        reference: long(65),
    };
    bad(staff.claims.record_payment(request).await, &[&named[..], &["amount", "reference"]].concat());
    let request = ListBillableRepairsRequest { after_sequence: -1, page_size: -1 };
    bad(staff.claims.list_billable_repairs(request).await, &["page_size", "after_sequence"]);
    let request = RecordBeyondRepairRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version,
        reason: " ".into(),
    };
    bad(staff.claims.record_beyond_repair(request).await, &[&named[..], &["reason"]].concat());
    let request = AppealDecisionRequest {
        request_id: request_id.clone(),
        claim_id: claim_id.clone(),
        version,
        reason: reason.clone(),
    };
    bad(dealer.claims.appeal_decision(request).await, &[&named[..], &["reason"]].concat());
    let outcome = AppealOutcome::Overridden.into();
    let request = DecideAppealRequest {
        request_id,
        claim_id,
        version,
        outcome,
        reason,
        goodwill_remedy: 99,
        goodwill_cost: euro(),
    };
    let expected = [&named[..], &["reason", "goodwill_remedy", "goodwill_cost"]].concat();
    bad(staff.claims.decide_appeal(request).await, &expected);
    assert_eq!(everything(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_badly_written_are_refused_with_every_violation() {
    let world = World::stocked().await;
    let before = everything(&world).await;
    let mut staff = world.staff();
    let price = |kind: PriceKind, product_type: ProductType, code: &str, days| Price {
        kind: kind.into(),
        product_type: product_type.into(),
        code: code.into(),
        amount: Some(fen_as_money(1)),
        valid_from_date: Some(world.today(days)),
    };
    let fine = price(PriceKind::Part, ProductType::Unspecified, "PSU", 0);
    let prices = vec![
        Price { kind: 9, product_type: 9, code: "a".into(), amount: euro(), valid_from_date: None },
        price(PriceKind::Labour, ProductType::Unspecified, "", 0),
        price(PriceKind::Part, ProductType::Other, "PSU", -1),
        price(PriceKind::Inspection, ProductType::Unspecified, "PSU", 0),
        fine.clone(),
        fine.clone(),
    ];
    let vat = Some(VatRate { basis_points: 10_001, valid_from_date: Some(world.today(-1)) });
    let request = SetPricesRequest { request_id: nil(), prices, vat };
    let expected = [
        "request_id",
        "prices[0].kind",
        "prices[0].product_type",
        "prices[0].code",
        "prices[0].amount",
        "prices[0].valid_from_date",
        "prices[1].product_type",
        "prices[2].product_type",
        "prices[2].valid_from_date",
        "prices[3].code",
        "prices[5]",
        "vat.basis_points",
        "vat.valid_from_date",
    ];
    bad(staff.claims.set_prices(request).await, &expected);
    bad(staff.claims.set_prices(SetPricesRequest { request_id: id(), ..Default::default() }).await, &["prices"]);
    let request = SetPricesRequest { request_id: id(), prices: vec![fine; 501], vat: None };
    too_large(staff.claims.set_prices(request).await);
    let day = Some(Date { year: 2026, month: 2, day: 30 });
    let request = ListPricesRequest { date: day, page_size: 501, page_token: String::new() };
    bad(staff.claims.list_prices(request).await, &["page_size", "date"]);
    assert_eq!(everything(&world).await, before);
}
