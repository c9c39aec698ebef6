//! A world of its own for each test: a fresh database (a clone of one migrated template), the three services on real listeners
//! under their own database roles, an issuer, a clock that stands still, and callers with real tokens.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{Connection, Executor, PgConnection};
use tokio::{net::TcpListener, sync::OnceCell};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt;
use uuid::Uuid;
use warranty::{
    auth::{keys::KeyRing, token::Verifier},
    clock::{Clock, civil_date},
    config::Limits,
    contract::{
        google::r#type::{Date, Money},
        v1::{
            claim_service_client::ClaimServiceClient, coverage_service_client::CoverageServiceClient,
            logistics_service_client::LogisticsServiceClient, registry_service_client::RegistryServiceClient, *,
        },
    },
    domain::actor::Actor,
    local::{issuer::Issuer, postgres::Cluster},
    process::routes,
    server::{Chassis, serve},
    service::App,
    store::{self, Role, objects::Objects, replica::Replica},
};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "warranty";

/// One PostgreSQL for the whole run; it dies with this process, however that ends.
fn cluster_url() -> &'static str {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start_throwaway().unwrap()).url()
}

fn database_url(name: &str) -> String {
    let (server, _) = cluster_url().rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// A fresh database with the schema: a clone of one migrated template.
pub async fn fresh_database() -> String {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            create("CREATE DATABASE template_migrated".to_owned()).await;
            store::migrate(&database_url("template_migrated")).await.unwrap();
        })
        .await;
    let name = format!("test_{}", Uuid::new_v4().simple());
    create(format!("CREATE DATABASE {name} TEMPLATE template_migrated")).await;
    database_url(&name)
}

async fn create(sql: String) {
    let mut connection = PgConnection::connect(&database_url("postgres")).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}

/// The services, their database, their issuer and their clock.
pub struct World {
    /// The database, as its owner.
    pub url: String,
    /// Stands at noon of 15 June 2026 in Shanghai until a test moves it.
    pub clock: Clock,
    pub issuer: Arc<Issuer>,
    pub coverage: SocketAddr,
    pub claim: SocketAddr,
    pub logistics: SocketAddr,
    /// Where scans and photos are kept, and its folder, which is not there before the first.
    pub evidence: Objects,
    pub folder: PathBuf,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn limits() -> Limits {
    Limits {
        default_deadline: Duration::from_secs(30),
        max_deadline: Duration::from_secs(60),
        max_message_bytes: 4 << 20,
        concurrency: 2048,
        connections: 1024,
        streams: 1024,
        lame_duck: Duration::ZERO,
        drain: Duration::from_secs(5),
    }
}

impl World {
    pub async fn start() -> Self {
        Self::over(fresh_database().await, None).await
    }

    /// Over a migrated database, and where there is one a replica of it for coverage.
    pub async fn over(url: String, replica: Option<&str>) -> Self {
        let clock = Clock::fixed("2026-06-15T04:00:00Z".parse().unwrap());
        let issuer = Arc::new(Issuer::ephemeral().unwrap());
        let stop = CancellationToken::new();
        let keys = std::env::temp_dir().join(format!("jwks-{}.json", Uuid::new_v4()));
        std::fs::write(&keys, issuer.jwks().to_string()).unwrap();
        let ring = KeyRing::load(keys.to_str().unwrap().to_owned(), Duration::from_secs(10)).await.unwrap();
        std::fs::remove_file(keys).unwrap();
        let verifier = Arc::new(Verifier::new(ISSUER.into(), AUDIENCE.into(), ring));
        let folder = std::env::temp_dir().join(format!("evidence-{}", Uuid::new_v4()));
        let evidence = Objects::open(folder.to_str().unwrap(), []).unwrap();
        let mut addresses = Vec::new();
        for role in [Role::Coverage, Role::Claim, Role::Logistics] {
            let app = App::new(store::pool(&url, 8, role).unwrap(), clock.clone());
            let replica = replica.filter(|_| role == Role::Coverage);
            let replica = replica.map(|replica| Replica::start(replica, &app.pool).unwrap());
            let (routes, services) = routes(&[(role, app)], &evidence, replica.as_ref(), limits().max_message_bytes);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let chassis = Chassis {
                routes,
                services,
                verifier: Arc::clone(&verifier),
                clock: clock.clone(),
                limits: limits(),
                origins: Vec::new(),
                reflection: true,
                shutdown: stop.clone(),
            };
            tokio::spawn(serve(listener, None, chassis, || async { Ok(()) }));
        }
        let [coverage, claim, logistics] = addresses[..] else { unreachable!() };
        Self { url, clock, issuer, coverage, claim, logistics, evidence, folder, stop }
    }

    /// A caller with every scope that its kind may hold.
    pub fn caller(&self, actor: Actor) -> Caller {
        let scopes = match actor {
            Actor::Dealer(_) => "coverage.read sales.write claims.read claims.apply logistics.read",
            Actor::Customer(_) => "coverage.read claims.read claims.apply logistics.read",
            Actor::Worker(_) => "",
            Actor::Staff(_) => {
                "coverage.read sales.write registry.write claims.read claims.support depot.write billing.write logistics.read people.erase"
            }
        };
        self.caller_with(actor, scopes)
    }

    /// A caller with these scopes.
    pub fn caller_with(&self, actor: Actor, scopes: &str) -> Caller {
        let bearer = self.bearer(&actor, scopes);
        let coverage = channel(self.coverage);
        Caller {
            coverage: CoverageServiceClient::with_interceptor(coverage.clone(), bearer.clone()),
            registry: RegistryServiceClient::with_interceptor(coverage, bearer.clone()),
            claims: ClaimServiceClient::with_interceptor(channel(self.claim), bearer.clone()),
            logistics: LogisticsServiceClient::with_interceptor(channel(self.logistics), bearer),
        }
    }

    /// A token for an hour, as a caller sends it.
    pub fn bearer(&self, actor: &Actor, scopes: &str) -> Bearer {
        let hour = chrono::Duration::hours(1);
        let token = self.issuer.mint(actor, scopes, hour, ISSUER, AUDIENCE, self.clock.now()).unwrap();
        Bearer(format!("Bearer {token}").parse().unwrap())
    }

    pub fn dealer(&self, id: &str) -> Caller {
        self.caller(Actor::Dealer(id.to_owned()))
    }

    pub fn customer(&self, id: Uuid) -> Caller {
        self.caller(Actor::Customer(id))
    }

    pub fn staff(&self) -> Caller {
        self.caller(Actor::Staff("S1".to_owned()))
    }

    /// Today in the world, `days` later.
    pub fn today(&self, days: i64) -> Date {
        let day = civil_date(self.clock.now()) + chrono::Duration::days(days);
        date(&day.to_string())
    }

    /// Moves the clock; tokens are minted anew.
    pub fn set(&self, at: &str) {
        self.clock.set(at.parse::<DateTime<Utc>>().unwrap());
    }

    /// The database as its owner, past every grant and policy.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// A product of this model with these equivalents.
    pub async fn product(&self, model: &str, discontinued: bool, equivalents: &[&str]) {
        let product = Product {
            model: model.into(),
            product_type: ProductType::PoeSwitch.into(),
            discontinued,
            equivalent_models: equivalents.iter().map(|model| (*model).to_owned()).collect(),
        };
        let request = CreateProductRequest { request_id: id(), product: Some(product) };
        self.staff().registry.create_product(request).await.unwrap();
    }

    /// The dealers D1 and D2, and the models PS-1 and PS-2.
    pub async fn stocked() -> Self {
        Self::start().await.with_stock().await
    }

    pub async fn with_stock(self) -> Self {
        let world = self;
        for dealer in ["D1", "D2"] {
            let request =
                CreateDealerRequest { request_id: id(), dealer_id: dealer.into(), name: format!("Dealer {dealer}") };
            world.staff().registry.create_dealer(request).await.unwrap();
        }
        world.product("PS-1", false, &[]).await;
        world.product("PS-2", false, &[]).await;
        world
    }

    /// A unit of model PS-1, made on 2026-01-10, that the maker sold.
    pub async fn unit(&self, serial: &str) {
        self.unit_like(serial, |_| {}).await;
    }

    pub async fn unit_like(&self, serial: &str, change: impl FnOnce(&mut Unit)) {
        let mut unit = Unit {
            serial: serial.into(),
            model: "PS-1".into(),
            manufactured_date: Some(date("2026-01-10")),
            ex_factory_date: Some(date("2026-01-20")),
            sold_by_maker: true,
            ..Default::default()
        };
        change(&mut unit);
        let request = RegisterUnitsRequest { request_id: id(), units: vec![unit] };
        self.staff().registry.register_units(request).await.unwrap();
    }

    /// A unit that D1 sold `days` ago with invoice F-serial to a customer with a contact; gives the customer's id.
    pub async fn sold(&self, serial: &str, days: i64) -> Uuid {
        self.unit(serial).await;
        let request = RegisterSaleRequest {
            request_id: id(),
            serial: serial.into(),
            sold_date: Some(self.today(-days)),
            invoice_number: format!("F-{serial}"),
            region: "CN-GD".into(),
            customer: Some(contact()),
            ..Default::default()
        };
        let sale = self.dealer("D1").registry.register_sale(request).await.unwrap().into_inner().sale.unwrap();
        sale.customer_id.parse().unwrap()
    }

    /// Prices for PoE switches from today on, and 13 % of VAT: 50 for the inspection, 120 for labour, 80.01 where it does not power
    /// on, 99.99 for a power supply. Nothing, where they are set already.
    pub async fn priced(&self) {
        let labour = ProductType::PoeSwitch;
        let price = |kind: PriceKind, product_type: ProductType, code: &str, fen| Price {
            kind: kind.into(),
            product_type: product_type.into(),
            code: code.into(),
            amount: Some(fen_as_money(fen)),
            valid_from_date: Some(self.today(0)),
        };
        let prices = vec![
            price(PriceKind::Inspection, ProductType::Unspecified, "", 5_000),
            price(PriceKind::Labour, labour, "", 12_000),
            price(PriceKind::Labour, labour, "NO_POWER", 8_001),
            price(PriceKind::Part, ProductType::Unspecified, "PSU", 9_999),
        ];
        let vat = Some(VatRate { basis_points: 1_300, valid_from_date: Some(self.today(0)) });
        let request = SetPricesRequest { request_id: Uuid::from_u128(13).to_string(), prices, vat };
        self.staff().claims.set_prices(request).await.unwrap();
    }

    /// The worker's connections.
    pub fn worker(&self) -> sqlx::PgPool {
        store::pool(&self.url, 2, Role::Worker).unwrap()
    }

    /// A claim that D1 filed for a unit it sold `days` ago.
    pub async fn filed(&self, serial: &str, days: i64) -> Claim {
        self.sold(serial, days).await;
        self.dealer("D1").claims.file_claim(filing(serial)).await.unwrap().into_inner().claim.unwrap()
    }
}

/// A caller's clients, each with its token.
pub struct Caller {
    pub coverage: CoverageServiceClient<Authed>,
    pub registry: RegistryServiceClient<Authed>,
    pub claims: ClaimServiceClient<Authed>,
    pub logistics: LogisticsServiceClient<Authed>,
}

pub type Authed = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
pub struct Bearer(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection to one process.
pub fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A fresh request id.
pub fn id() -> String {
    Uuid::new_v4().to_string()
}

pub fn date(text: &str) -> Date {
    let parts: Vec<i32> = text.split('-').map(|part| part.parse().unwrap()).collect();
    Date { year: parts[0], month: parts[1], day: parts[2] }
}

pub fn contact() -> Customer {
    let contact =
        Contact { name: "王小明".into(), telephone: "13800000000".into(), address: "深圳市南山区".into() };
    Customer { customer: Some(customer::Customer::Contact(contact)) }
}

/// A claim for a unit that does not power on.
pub fn filing(serial: &str) -> FileClaimRequest {
    let report = FaultReport { fault_code: "NO_POWER".into(), ..Default::default() };
    FileClaimRequest { request_id: id(), serial: serial.into(), report: Some(report), ..Default::default() }
}

/// An amount of CNY, from whole fen.
pub fn fen_as_money(fen: i64) -> Money {
    Money { currency_code: "CNY".into(), units: fen / 100, nanos: (fen % 100) as i32 * 10_000_000 }
}

/// A refusal's code and reason.
pub fn refusal(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_else(|| format!("no ErrorInfo: {}", status.message())))
}

/// A refusal's metadata.
pub fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

/// Bad input's violations: path and rule.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let found = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    found.into_iter().map(|violation| (violation.field, violation.description)).collect()
}
