//! Who walks: the clients, the callers' tokens, the walk's own data, and what came out wrong.

use std::{collections::HashMap, fmt::Debug};

use anyhow::{Context, Result};
use chrono::{Days, NaiveDate};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use super::{
    WalkArgs,
    expected::{self, Days3, Verdict, date, told},
};
use crate::{
    client::{Kind, TokenSource, Who, connect, refusal, signed},
    clock::{Clock, civil_date},
    contract::v1::{
        CheckCoverageRequest, Clause, Contact, CreateDealerRequest, CreateProductRequest, Customer, Decision,
        FaultReport, GetDealerRequest, GetProductRequest, Payer, Product, ProductType, RegisterSaleRequest,
        RegisterUnitsRequest, Remedy, StartBasis, Unit, claim_service_client::ClaimServiceClient,
        coverage_service_client::CoverageServiceClient, customer, logistics_service_client::LogisticsServiceClient,
        registry_service_client::RegistryServiceClient,
    },
};

/// Calls a method as somebody, in a trace of its own: the reply, or what the service refused with.
macro_rules! ask {
    ($walker:expr, $client:ident.$method:ident, $who:expr, $message:expr) => {{
        let request = $walker.request($who, $message).await?;
        $walker.$client.$method(request).await.map(tonic::Response::into_inner)
    }};
}
pub(super) use ask;

/// The walk's only model: a PoE switch, still made.
const MODEL: &str = "WALK-POE-8";

/// A unit with its registered sale.
pub struct Sold {
    pub serial: String,
    pub sold: NaiveDate,
    pub customer_id: String,
}

pub struct Walker {
    pub coverage: CoverageServiceClient<Channel>,
    pub registry: RegistryServiceClient<Channel>,
    pub claims: ClaimServiceClient<Channel>,
    pub logistics: LogisticsServiceClient<Channel>,
    pub dealer: Who,
    pub other_dealer: Who,
    /// Today in Asia/Shanghai.
    pub today: NaiveDate,
    tokens: TokenSource,
    known: HashMap<Who, String>,
    caller: String,
    trace: String,
    steps: usize,
    wrong: usize,
}

impl Walker {
    pub async fn connect(args: &WalkArgs, tokens: TokenSource, clock: &Clock) -> Result<Self> {
        let at = &args.addresses;
        let coverage = connect(&at.coverage).await?;
        Ok(Self {
            coverage: CoverageServiceClient::new(coverage.clone()),
            registry: RegistryServiceClient::new(coverage),
            claims: ClaimServiceClient::new(connect(&at.claim).await?),
            logistics: LogisticsServiceClient::new(connect(&at.logistics).await?),
            dealer: Who::dealer(&args.dealer),
            other_dealer: Who::dealer(&args.other_dealer),
            today: civil_date(clock.now()),
            tokens,
            known: HashMap::new(),
            caller: String::new(),
            trace: String::new(),
            steps: 0,
            wrong: 0,
        })
    }

    /// The next call's request, as `who`, in a trace of its own.
    pub async fn request<T>(&mut self, who: &Who, message: T) -> Result<Request<T>> {
        if !self.known.contains_key(who) {
            let token = self.tokens.token(who).await?;
            self.known.insert(who.clone(), token);
        }
        let (request, trace) = signed(message, self.known.get(who).map(String::as_str))?;
        self.caller = who.to_string();
        self.trace = trace;
        Ok(request)
    }

    /// Prints the last call as a step: who, what, and what came out.
    pub fn tell(&mut self, step: &str, came: &str) {
        self.steps += 1;
        println!("   {:<24} {step:<34} {came}  trace {}", self.caller, self.trace);
    }

    /// Holds what came against what the clauses say.
    pub fn agree<T: PartialEq + Debug>(&mut self, what: &str, came: T, expected: T) {
        if came != expected {
            self.wrong(&format!("{what}: expected {expected:?}, came {came:?}"));
        }
    }

    /// Something came out otherwise.
    pub fn wrong(&mut self, told: &str) {
        self.wrong += 1;
        println!("   WRONG {told}  trace {}", self.trace);
    }

    /// Prints how the walk ended; true where nothing was wrong.
    pub fn conclude(&self) -> bool {
        match self.wrong {
            0 => println!("\n{} steps, all as the clauses say.", self.steps),
            n => println!("\n{} steps, {n} came out otherwise: see WRONG.", self.steps),
        }
        self.wrong == 0
    }

    /// The call must be refused, with this code and reason.
    pub fn refused<T>(&mut self, step: &str, answer: Result<T, Status>, expected: (Code, &str)) {
        match answer {
            Ok(_) => self.wrong(&format!("{step}: expected {expected:?}, came a reply")),
            Err(status) => {
                let reason = refusal::reason(&status);
                self.tell(step, &format!("refused: {reason} ({})", status.message()));
                self.agree(step, (status.code(), reason.as_str()), expected);
            }
        }
    }

    /// The model and both dealers, where the registry does not know them yet.
    pub async fn prepare(&mut self) -> Result<()> {
        println!("The walk's own data, registered anew each time: units, sales.");
        let product = GetProductRequest { model: MODEL.to_owned() };
        if absent(ask!(self, registry.get_product, &registry(), product))? {
            self.create_product().await?;
        }
        for dealer in [self.dealer.clone(), self.other_dealer.clone()] {
            let dealer_id = dealer.id.unwrap_or_default();
            let asked = GetDealerRequest { dealer_id: dealer_id.clone() };
            if absent(ask!(self, registry.get_dealer, &registry(), asked))? {
                self.create_dealer(dealer_id).await?;
            }
        }
        Ok(())
    }

    async fn create_product(&mut self) -> Result<()> {
        let product =
            Product { model: MODEL.to_owned(), product_type: ProductType::PoeSwitch.into(), ..Default::default() };
        let message = CreateProductRequest { request_id: fresh(), product: Some(product) };
        ask!(self, registry.create_product, &registry(), message)?;
        self.tell("CreateProduct", MODEL);
        Ok(())
    }

    async fn create_dealer(&mut self, dealer_id: String) -> Result<()> {
        let name = format!("{dealer_id} of the walk");
        let message = CreateDealerRequest { request_id: fresh(), dealer_id, name };
        let reply = ask!(self, registry.create_dealer, &registry(), message)?;
        self.tell("CreateDealer", &reply.dealer.unwrap_or_default().dealer_id);
        Ok(())
    }

    /// A new unit, made 90 and shipped 60 days before `day`, sold to nobody yet. Gives its serial.
    pub async fn unit(&mut self, day: NaiveDate) -> Result<String> {
        let random = Uuid::new_v4().simple().to_string().to_uppercase();
        let unit = Unit {
            serial: format!("WK{}", &random[..14]),
            model: MODEL.to_owned(),
            manufactured_date: Some(date(day - Days::new(90))),
            ex_factory_date: Some(date(day - Days::new(60))),
            sold_by_maker: true,
            ..Default::default()
        };
        let serial = unit.serial.clone();
        let message = RegisterUnitsRequest { request_id: fresh(), units: vec![unit] };
        let reply = ask!(self, registry.register_units, &registry(), message)?;
        self.tell("RegisterUnits", &serial);
        self.agree("units registered", reply.registered_count, 1);
        Ok(serial)
    }

    /// A new unit that the dealer sold so many days ago, with an invoice, in Guangdong, to a new customer.
    pub async fn sold(&mut self, days_ago: u64) -> Result<Sold> {
        let sold = self.today - Days::new(days_ago);
        let serial = self.unit(sold).await?;
        let contact = Contact {
            name: "Walk Customer".to_owned(),
            telephone: "020-00000000".to_owned(),
            address: "1 Walk Road, Guangzhou".to_owned(),
        };
        let message = RegisterSaleRequest {
            request_id: fresh(),
            serial: serial.clone(),
            sold_date: Some(date(sold)),
            invoice_number: format!("INV-{serial}"),
            warranty_card_number: format!("CARD-{serial}"),
            region: "CN-GD".to_owned(),
            customer: Some(Customer { customer: Some(customer::Customer::Contact(contact)) }),
            ..Default::default()
        };
        let reply = ask!(self, registry.register_sale, &self.dealer.clone(), message)?;
        self.tell("RegisterSale", &format!("{serial} on {sold}"));
        let sale = reply.sale.context("the reply names no sale")?;
        self.agree("sale's dealer", Some(sale.dealer_id), self.dealer.id.clone());
        Ok(Sold { serial, sold, customer_id: sale.customer_id })
    }

    /// The coverage of a unit on `day`, for the walk's usual fault.
    async fn coverage(&mut self, serial: &str, day: NaiveDate) -> Result<Decision> {
        let message = CheckCoverageRequest {
            serial: serial.to_owned(),
            date: Some(date(day)),
            report: Some(FaultReport { fault_code: "NO_POWER".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let reply = ask!(self, coverage.check_coverage, &self.dealer.clone(), message)?;
        let decision = reply.decision.context("the reply holds no decision")?;
        self.tell(&format!("CheckCoverage on {day}"), &format!("{serial} {}", told(&decision)));
        Ok(decision)
    }

    /// The unit is so covered on `day`.
    pub async fn covered(&mut self, serial: &str, day: NaiveDate, verdict: Verdict, windows: &[Days3]) -> Result<()> {
        let decision = self.coverage(serial, day).await?;
        self.decided("coverage", &decision, verdict, windows);
        Ok(())
    }

    /// T5: the unit replaced is covered no longer, and says which unit took its place.
    pub async fn superseded(&mut self, old: &Sold, by: &str) -> Result<()> {
        let decision = self.coverage(&old.serial, self.today).await?;
        let came = (decision.remedy(), decision.clauses().collect());
        self.agree("superseded decision", came, (Remedy::None, vec![Clause::T5]));
        self.agree("superseded by", decision.superseded_by.as_str(), by);
        self.agree("superseded windows", expected::came(&decision.windows), vec![]);
        let came = (decision.start_date, decision.outbound_freight());
        self.agree("superseded start and freight", came, (None, Payer::Unspecified));
        Ok(())
    }

    /// M3: what the maker owes after a swap is new stock; nobody's dates come with it (T12).
    pub async fn outside_the_chain(&mut self, owed: &str) -> Result<()> {
        let decision = self.coverage(owed, self.today).await?;
        self.agree("start of the unit owed", decision.start_basis(), StartBasis::ExFactory);
        Ok(())
    }

    /// A decision against the clauses: remedy, deciding clauses, start, windows, freight both ways.
    pub fn decided(&mut self, which: &str, decision: &Decision, verdict: Verdict, windows: &[Days3]) {
        let (remedy, clauses) = verdict;
        let start = windows.first().map(|(_, first, _)| date(*first));
        let came = (decision.remedy(), decision.clauses().collect());
        self.agree(&format!("{which} decision"), came, (remedy, clauses.to_vec()));
        let came = expected::came(&decision.windows);
        self.agree(&format!("{which} windows"), came, windows.to_vec());
        let came = (decision.start_basis(), decision.start_date);
        self.agree(&format!("{which} start"), came, (StartBasis::Invoice, start));
        let came = (decision.inbound_freight(), decision.outbound_freight());
        self.agree(&format!("{which} freight"), came, (Payer::Sender, expected::outbound_payer(remedy)));
    }
}

/// The maker's registry staff.
fn registry() -> Who {
    Who::staff(Kind::Registry)
}

/// A new `request_id`.
pub fn fresh() -> String {
    Uuid::new_v4().to_string()
}

/// True for NOT_FOUND, false for a reply.
fn absent<T>(answer: Result<T, Status>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(false),
        Err(status) if status.code() == Code::NotFound => Ok(true),
        Err(status) => Err(status.into()),
    }
}
