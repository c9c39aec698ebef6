//! Personal data stands in one table and goes on request. Canaries, values unlike anything else, are driven through the real
//! process, and then looked for in every reply, error, log line, trace and column.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use prost::Message;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Response, Status, transport::Server};
use uuid::Uuid;
use warranty::{clock::Clock, contract::v1::*, domain::actor::Actor};

use crate::{
    traces::Collector,
    world::{AUDIENCE, Caller, ISSUER, World, date, filing, id, metadata, refusal},
};

/// What to look for: name, telephone number and address of the buyer, then of whom the claim is for, then of where it is sent.
const CANARIES: [&str; 9] = [
    "Canary-Wu-7714",
    "+8613907428831",
    "51834 Canary Lane",
    "Linnet-Xu-3302",
    "+8613855519027",
    "90217 Linnet Row",
    "Siskin-He-1186",
    "+8613722240516",
    "66402 Siskin Court",
];

fn person(of: &[&str]) -> Contact {
    Contact { name: format!("金丝雀 {}", of[0]), telephone: of[1].into(), address: of[2].into() }
}

fn contact(person: &Contact) -> Option<Customer> {
    Some(Customer { customer: Some(customer::Customer::Contact(person.clone())) })
}

/// Which canaries are in these bytes.
fn canaries_in(bytes: &[u8]) -> Vec<&'static str> {
    let is_in = |canary: &&str| bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
    CANARIES.into_iter().filter(is_in).collect()
}

/// The real process, all three services, which logs all it can and traces every call.
struct Process {
    child: Child,
    log: PathBuf,
    traces: Collector,
}

impl Process {
    /// Serves the world's database at `world.coverage`, `world.claim` and `world.logistics`.
    async fn start(world: &mut World) -> Self {
        let traces = Collector::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(traces.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        std::fs::create_dir(&place).unwrap();
        let (keys, log) = (place.join("jwks.json"), place.join("log"));
        std::fs::write(&keys, world.issuer.jwks().to_string()).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_warranty"))
            .args(["all", "--listen", &address.to_string(), "--jwks", keys.to_str().unwrap()])
            .args(["--issuer", ISSUER, "--audience", AUDIENCE, "--log", "trace"])
            .args(["--otlp-endpoint", &collector, "--trace-ratio", "1"])
            .env("DATABASE_URL", &world.url)
            .stderr(Stdio::from(File::create(&log).unwrap()))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            tokio::task::yield_now().await;
        }
        (world.coverage, world.claim, world.logistics) = (address, address, address);
        Self { child, log, traces }
    }

    /// Stops it in order, and gives its log and the traces that it exported.
    async fn stop(mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = timeout(Duration::from_secs(60), self.child.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(0));
        let traces = self.traces.0.lock().unwrap().iter().map(Message::encode_to_vec).collect();
        let log = std::fs::read(&self.log).unwrap();
        std::fs::remove_dir_all(self.log.parent().unwrap()).unwrap();
        (log, traces)
    }
}

/// Every column of every table in which a text stands, whatever the column's type; and the planner's samples of them.
async fn columns_with(owner: &mut PgConnection, text: &str) -> BTreeSet<String> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text, c.data_type::text
           FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
          WHERE t.table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
          UNION ALL SELECT 'pg_stats', unnest(ARRAY['most_common_vals', 'histogram_bounds', 'most_common_elems']), 'anyarray'",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    assert!(columns.len() > 100, "the columns were found: {}", columns.len());
    let mut found = BTreeSet::new();
    for (table, column, of_type) in columns {
        let is_in = match of_type.as_str() {
            "bytea" => format!("position(convert_to($1, 'UTF8') IN {column}) > 0"),
            _ => format!("strpos(lower({column}::text), lower($1)) > 0"),
        };
        let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {is_in})")));
        if query.bind(text).fetch_one(&mut *owner).await.unwrap() {
            found.insert(format!("{table}.{column}"));
        }
    }
    found
}

async fn columns_with_canaries(world: &World) -> Vec<String> {
    let mut found = BTreeSet::new();
    for canary in CANARIES {
        found.append(&mut columns_with(&mut world.owner().await, canary).await);
    }
    found.into_iter().collect()
}

fn sale(serial: &str, customer: Option<Customer>) -> RegisterSaleRequest {
    RegisterSaleRequest {
        request_id: id(),
        serial: serial.into(),
        sold_date: Some(date("2024-03-01")),
        invoice_number: "F1".into(),
        customer,
        ..Default::default()
    }
}

fn claim(serial: &str, customer: Option<Customer>) -> FileClaimRequest {
    let vouchers = Some(Vouchers { invoice_number: "F1".into(), ..Default::default() });
    FileClaimRequest { customer, vouchers, ..filing(serial) }
}

/// Each way in which a call with personal data is refused.
async fn refusals(world: &World, people: &[Contact; 2], sold: &RegisterSaleRequest) -> Vec<Status> {
    let mut dealer = world.dealer("D1");
    let (mut told, good) = (Vec::new(), &people[0]);
    let much = |text: &str| text.repeat(20);
    let long = Contact { name: much(&good.name), telephone: much(&good.telephone), address: much(&good.address) };
    let unseen = |text: &str| format!("{text}\u{7}");
    let strange =
        Contact { name: unseen(&good.name), telephone: unseen(&good.telephone), address: unseen(&good.address) };
    let nameless = Contact { name: String::new(), ..good.clone() };
    for bad in [long.clone(), strange.clone(), nameless.clone()] {
        let customer = contact(&bad);
        told.push(dealer.registry.register_sale(sale("CANARY2", customer.clone())).await.unwrap_err());
        told.push(dealer.claims.file_claim(claim("CANARY2", customer)).await.unwrap_err());
    }
    // A contact in the wrong field.
    let named = Some(Customer { customer: Some(customer::Customer::CustomerId(good.name.clone())) });
    told.push(dealer.registry.register_sale(sale("CANARY2", named.clone())).await.unwrap_err());
    told.push(dealer.claims.file_claim(claim("CANARY2", named)).await.unwrap_err());
    let elsewhere = RegisterSaleRequest {
        serial: good.name.clone(),
        dealer_id: good.address.clone(),
        region: good.telephone.clone(),
        model: good.name.clone(),
        invoice_number: much(&good.name),
        reason: unseen(&good.address),
        ..sale("", None)
    };
    told.push(dealer.registry.register_sale(elsewhere).await.unwrap_err());
    told.push(world.staff().registry.erase_customer(erasing(&good.telephone)).await.unwrap_err());
    // Refused by the rules, past the reading.
    let both = |serial: &str| (sale(serial, contact(good)), claim(serial, contact(good)));
    let (sale_of_sold, claim_of_claimed) = both("CANARY1");
    told.push(dealer.registry.register_sale(sale_of_sold).await.unwrap_err());
    told.push(dealer.claims.file_claim(claim_of_claimed).await.unwrap_err());
    let (sale_of_unknown, claim_of_unknown) = both("NOBODYS1");
    told.push(dealer.registry.register_sale(sale_of_unknown).await.unwrap_err());
    told.push(dealer.claims.file_claim(claim_of_unknown).await.unwrap_err());
    let reused = RegisterSaleRequest { customer: contact(&people[1]), ..sold.clone() };
    told.push(dealer.registry.register_sale(reused).await.unwrap_err());
    let stale = RegisterSaleRequest { dealer_id: "D1".into(), version: 7, ..sale("CANARY1", contact(good)) };
    told.push(world.staff().registry.register_sale(stale).await.unwrap_err());
    let unmade = RegisterSaleRequest { sold_date: Some(date("2019-01-01")), ..sale("CANARY2", contact(good)) };
    told.push(dealer.registry.register_sale(unmade).await.unwrap_err());
    for bad in [long.clone(), strange.clone(), nameless.clone(), Contact { address: String::new(), ..good.clone() }] {
        told.push(world.staff().logistics.dispatch_outbound(sending(&id(), &bad)).await.unwrap_err());
    }
    told.push(world.staff().logistics.dispatch_outbound(sending(&id(), good)).await.unwrap_err());
    let himself = claim("CANARY2", contact(good));
    told.push(world.customer(Uuid::from_u128(9)).claims.file_claim(himself).await.unwrap_err());
    told.push(world.dealer("NOBODY").registry.register_sale(sale("CANARY2", contact(good))).await.unwrap_err());
    told
}

fn sending(claim_id: &str, to: &Contact) -> DispatchOutboundRequest {
    DispatchOutboundRequest {
        request_id: id(),
        items: vec![DispatchItem { claim_id: claim_id.into(), given_serial: String::new() }],
        carrier: "SF".into(),
        tracking_number: String::new(),
        recipient: contact(to),
    }
}

/// D2's claim, sent in, found without a fault, and sent back to an address given for it: twice the same request.
async fn sent_back(world: &World, claim: &Claim, to: &Contact) -> Shipment {
    let (mut filer, mut staff) = (world.dealer("D2"), world.staff());
    let claim_id = claim.claim_id.clone();
    let request = RecordGuidanceRequest {
        request_id: id(),
        claim_id: claim_id.clone(),
        outcome: GuidanceOutcome::Confirmed.into(),
        ..Default::default()
    };
    let guided = staff.claims.record_guidance(request).await.unwrap().into_inner().claim.unwrap();
    let claim_ids = vec![claim_id.clone()];
    let request = OpenReturnRequest { request_id: id(), claim_ids, carrier: "SF".into(), ..Default::default() };
    let shipment_id = filer.logistics.open_return(request).await.unwrap().into_inner().shipment.unwrap().shipment_id;
    let (return_number, serial) = (guided.return_number, guided.serial);
    let items = vec![ReceivedItem { return_number, serial, ..Default::default() }];
    let request = ReceiveReturnRequest { request_id: id(), shipment_id, items, ..Default::default() };
    staff.logistics.receive_return(request).await.unwrap();
    let request = RecordInspectionRequest {
        request_id: id(),
        claim_id: claim_id.clone(),
        no_fault_found: true,
        ..Default::default()
    };
    staff.claims.record_inspection(request).await.unwrap();
    let request = sending(&claim_id, to);
    let sent = staff.logistics.dispatch_outbound(request.clone()).await.unwrap().into_inner();
    assert_eq!(canaries_in(&sent.encode_to_vec()), [""; 0], "a reply that is kept has no address");
    assert_eq!(staff.logistics.dispatch_outbound(request).await.unwrap().into_inner(), sent);
    sent.shipment.unwrap()
}

async fn shown(caller: &mut Caller, shipment_id: &str) -> Result<GetShipmentResponse, Status> {
    let request = GetShipmentRequest { shipment_id: shipment_id.into() };
    caller.logistics.get_shipment(request).await.map(Response::into_inner)
}

fn erasing(customer_id: &str) -> EraseCustomerRequest {
    EraseCustomerRequest { request_id: id(), customer_id: customer_id.into() }
}

/// What an error carries: message, details, and metadata.
fn carried(status: &Status) -> Vec<u8> {
    let metadata = format!("{:?}", status.metadata());
    [status.message().as_bytes(), status.details(), metadata.as_bytes()].concat()
}

fn contents<T: Message>(answer: Response<T>) -> Vec<u8> {
    answer.into_inner().encode_to_vec()
}

async fn no_refusal_tells_of_a_person(world: &World, people: &[Contact; 2], sold: &RegisterSaleRequest) {
    let told = refusals(world, people, sold).await;
    let reasons: BTreeSet<String> = told.iter().map(|status| refusal(status).1).collect();
    let expected = [
        "DEALER_NOT_ACTIVE",
        "INVALID_FIELDS",
        "NOT_FOUND",
        "OPEN_CLAIM_EXISTS",
        "REGISTRY_CONFLICT",
        "REQUEST_ID_REUSED",
        "VERSION_MISMATCH",
    ];
    assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for status in &told {
        assert_eq!(canaries_in(&carried(status)), [""; 0], "{status:?}");
    }
}

/// What the seller sees of the unit, and who filed of the claim.
async fn seen(seller: &mut Caller, filer: &mut Caller, claim_id: &str) -> (GetUnitResponse, Claim) {
    let unit = seller.registry.get_unit(GetUnitRequest { serial: "CANARY1".into() }).await.unwrap().into_inner();
    let claim = filer
        .claims
        .get_claim(GetClaimRequest { claim_id: claim_id.into(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    (unit, claim.claim.unwrap())
}

async fn neither_log_nor_traces_tell_of_a_person(process: Process) {
    let (log, traces) = process.stop().await;
    let lines = String::from_utf8_lossy(&log);
    assert!(lines.contains("RegistryService/EraseCustomer") && lines.lines().count() > 100, "it logged");
    let is_in = |needle: &str| traces.iter().filter(|spans| String::from_utf8_lossy(spans).contains(needle)).count();
    for method in [
        "RegistryService/RegisterSale",
        "ClaimService/FileClaim",
        "LogisticsService/DispatchOutbound",
        "RegistryService/EraseCustomer",
    ] {
        assert!(is_in(method) > 0, "{method} was traced");
    }
    assert_eq!(canaries_in(&log), [""; 0], "the log");
    assert_eq!(canaries_in(&traces.concat()), [""; 0], "the traces");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_stands_in_one_table_and_is_erased_for_good() {
    let mut world = World::stocked().await;
    world.set(&Clock::system().now().to_rfc3339());
    for serial in ["CANARY1", "CANARY2"] {
        let made = |unit: &mut Unit| {
            (unit.manufactured_date, unit.ex_factory_date) = (Some(date("2020-01-10")), Some(date("2020-01-20")));
        };
        world.unit_like(serial, made).await;
    }
    let process = Process::start(&mut world).await;
    let (mut seller, mut filer, mut staff) = (world.dealer("D1"), world.dealer("D2"), world.staff());

    let people = [person(&CANARIES[..3]), person(&CANARIES[3..6])];
    let sold = sale("CANARY1", contact(&people[0]));
    let sold_reply = seller.registry.register_sale(sold.clone()).await.unwrap();
    let buyer = sold_reply.get_ref().sale.as_ref().unwrap().customer_id.clone();
    let filed_reply = filer.claims.file_claim(claim("CANARY1", contact(&people[1]))).await.unwrap();
    let filed = filed_reply.get_ref().claim.clone().unwrap();
    let events = ListClaimEventsRequest { claim_id: filed.claim_id.clone(), ..Default::default() };
    let events_reply = filer.claims.list_claim_events(events.clone()).await.unwrap();
    for reply in [contents(sold_reply), contents(filed_reply), contents(events_reply)] {
        assert_eq!(canaries_in(&reply), [""; 0], "a reply that needs no contact has none");
    }
    no_refusal_tells_of_a_person(&world, &people, &sold).await;

    let to = person(&CANARIES[6..]);
    let sent = sent_back(&world, &filed, &to).await;
    for caller in [&mut staff, &mut filer] {
        assert_eq!(shown(caller, &sent.shipment_id).await.unwrap().recipient.as_ref(), Some(&to));
    }
    let hidden = shown(&mut seller, &sent.shipment_id).await.unwrap_err();
    assert_eq!((refusal(&hidden).1.as_str(), canaries_in(&carried(&hidden))), ("NOT_FOUND", vec![]));

    // Before: the one place where the person stands, and the proof that this search would find him elsewhere.
    let before = seen(&mut seller, &mut filer, &filed.claim_id).await;
    assert_eq!(before.0.customer.as_ref(), Some(&people[0]));
    assert_eq!(canaries_in(&before.0.encode_to_vec()), CANARIES[..3]);
    sqlx::query("ANALYZE").execute(&mut world.owner().await).await.unwrap();
    assert_eq!(columns_with_canaries(&world).await, ["people.address", "people.name", "people.telephone"]);
    let elsewhere = columns_with(&mut world.owner().await, "canary1").await;
    for column in ["claim_events.facts", "claims.serial", "pg_stats.histogram_bounds", "sales.serial", "units.serial"] {
        assert!(elsewhere.contains(column), "the serial is found in {column}: {elsewhere:?}");
    }
    let in_replies = columns_with(&mut world.owner().await, "CANARY1").await;
    assert!(in_replies.contains("request_log.reply"), "the serial is found in replies: {in_replies:?}");

    // Erased: the same answer again, and to another request the first time.
    let request = erasing(&buyer);
    let first = staff.registry.erase_customer(request.clone()).await.unwrap().into_inner();
    assert!(first.erased_time.is_some());
    for again in [request, erasing(&buyer)] {
        assert_eq!(staff.registry.erase_customer(again).await.unwrap().into_inner(), first);
    }
    staff.registry.erase_customer(erasing(&filed.customer_id)).await.unwrap();
    let unknown = staff.registry.erase_customer(erasing(&id())).await.unwrap_err();
    assert_eq!(
        (refusal(&unknown), metadata(&unknown, "kind")),
        ((Code::NotFound, "NOT_FOUND".into()), "customer".into())
    );

    let parcel = shown(&mut staff, &sent.shipment_id).await.unwrap();
    assert_eq!((parcel.recipient, parcel.shipment.unwrap().recipient_id), (None, sent.recipient_id));

    // The facts stay; the person is gone.
    let after = seen(&mut seller, &mut filer, &filed.claim_id).await;
    assert_eq!(after, (GetUnitResponse { customer: None, ..before.0 }, before.1));
    assert_eq!(after.0.sale.unwrap().customer_id, buyer);
    let own = world.customer(filed.customer_id.parse().unwrap()).claims.list_claims(ListClaimsRequest::default()).await;
    assert_eq!(own.unwrap().into_inner().claims.len(), 1, "his number still opens his claim");
    let again = seller.registry.register_sale(sold).await.unwrap().into_inner();
    assert_eq!(again.sale.unwrap().customer_id, buyer, "the first reply to the first request");
    sqlx::query("ANALYZE").execute(&mut world.owner().await).await.unwrap();
    assert_eq!(columns_with_canaries(&world).await, [""; 0]);

    neither_log_nor_traces_tell_of_a_person(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_by_who_may_and_only_he() {
    let world = World::stocked().await;
    let (erased, other) = (world.sold("UNIT1", 20).await, world.sold("UNIT2", 20).await);
    let without = world.caller_with(Actor::Staff("S1".into()), "registry.write sales.write coverage.read");
    let seller = world.caller_with(Actor::Dealer("D1".into()), "sales.write coverage.read");
    for (mut caller, reason) in [(without, "SCOPE_MISSING"), (seller, "CALLER_KIND")] {
        let denied = caller.registry.erase_customer(erasing(&erased.to_string())).await.unwrap_err();
        assert_eq!(refusal(&denied), (Code::PermissionDenied, reason.into()));
    }
    // The database itself lets nobody but staff delete a person.
    let mut owner = world.owner().await;
    let as_dealer = "SET ROLE warranty_coverage; SET warranty.caller = 'dealer/D1'";
    sqlx::raw_sql(as_dealer).execute(&mut owner).await.unwrap();
    let deleted = sqlx::query("DELETE FROM people").execute(&mut owner).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0);

    let eraser = world.caller_with(Actor::Staff("S1".into()), "people.erase");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut registry, request) = (eraser.registry.clone(), erasing(&erased.to_string()));
        calls.spawn(async move { registry.erase_customer(request).await.unwrap().into_inner().erased_time });
    }
    let times: BTreeSet<Option<String>> =
        calls.join_all().await.into_iter().map(|time| time.map(|time| time.to_string())).collect();
    assert_eq!(times, BTreeSet::from([Some("2026-06-15T04:00:00Z".to_owned())]));
    let left: Vec<Uuid> =
        sqlx::query_scalar("SELECT customer_id FROM people").fetch_all(&mut world.owner().await).await.unwrap();
    assert_eq!(left, [other]);
}
