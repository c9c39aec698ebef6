//! `warranty walk`: one claim of each way through the running services, every answer checked against the commitment.

mod case;
mod ways;

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use chrono::{Days, NaiveDate};
use clap::Args;
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;

use super::{
    Addresses, Kind, TokenSource, Who,
    json::{Call, connect},
    refusal,
};
use crate::{
    clock::{Clock, civil_date},
    domain::{
        clause::Clause,
        policy::{Policy, STANDARD_POLICY, Text},
    },
};
use case::date;
use ways::WAYS;

/// The walk's only model: a PoE switch, still made.
const MODEL: &str = "WALK-POE-8";
/// The dealer who sells and applies, and one who must not see the other's claims.
const DEALERS: [&str; 2] = ["WALK-1", "WALK-2"];

/// What `warranty walk` needs.
#[derive(Args, Clone, Debug)]
pub struct WalkArgs {
    /// Where the services listen.
    #[command(flatten)]
    pub addresses: Addresses,
}

/// Walks every way with the issuer's tokens and the system's clock. True where everything came out as the clauses say.
/// Fails where a service or the issuer cannot be reached, or the walk's own data cannot be registered.
pub async fn walk(args: WalkArgs) -> Result<bool> {
    let tokens = TokenSource::Issuer(args.addresses.issuer_url.clone());
    walk_with(&args, tokens, &Clock::system()).await
}

/// As [`walk`], with the caller's own tokens and clock: the services' clock must stand on the same day.
pub async fn walk_with(args: &WalkArgs, tokens: TokenSource, clock: &Clock) -> Result<bool> {
    let policy: Policy = serde_json::from_str(STANDARD_POLICY)?;
    let mut walk = Walk {
        addresses: args.addresses.clone(),
        tokens,
        known: HashMap::new(),
        channels: HashMap::new(),
        texts: policy.texts,
        today: civil_date(clock.now()),
        vat_basis_points: 0,
        steps: 0,
        wrong: 0,
    };
    walk.prepare().await?;
    for (number, way) in (1..).zip(WAYS) {
        println!("\n{number}. {}", way.title);
        walk.cite(way.clauses);
        if let Err(error) = case::take(&mut walk, way).await {
            let told = error.downcast_ref::<Status>().map_or_else(|| format!("{error:#}"), refusal::told);
            walk.wrong(&format!("the way ends here: {told}"));
        }
    }
    match walk.wrong {
        0 => println!("\n{} steps, all as the clauses say.", walk.steps),
        wrong => println!("\n{} steps, {wrong} came out otherwise: see WRONG.", walk.steps),
    }
    Ok(walk.wrong == 0)
}

/// The clients, the callers' tokens, the day, and how it goes.
struct Walk {
    addresses: Addresses,
    tokens: TokenSource,
    known: HashMap<Who, String>,
    channels: HashMap<String, Channel>,
    /// The clauses that were not cited yet.
    texts: BTreeMap<Clause, Text>,
    /// Today in Asia/Shanghai.
    today: NaiveDate,
    /// The rate of VAT in force.
    vat_basis_points: u32,
    steps: usize,
    wrong: usize,
}

impl Walk {
    /// Calls a method: its trace, and the reply or what the service refused with.
    async fn ask(&mut self, who: &Who, method: &str, request: &Value) -> Result<(String, Result<Value, Status>)> {
        let call = Call::new(method, &request.to_string())?;
        let address = call.address(&self.addresses);
        if !self.channels.contains_key(address) {
            self.channels.insert(address.to_owned(), connect(address).await?);
        }
        if !self.known.contains_key(who) {
            self.known.insert(who.clone(), self.tokens.token(who).await?);
        }
        let (channel, token) = (self.channels[address].clone(), &self.known[who]);
        let trace = call.trace.clone();
        let answer = match call.send(channel, Some(token)).await? {
            Ok(reply) => Ok(serde_json::to_value(reply)?),
            Err(status) => Err(status),
        };
        Ok((trace, answer))
    }

    /// One step: somebody calls a method by a clause, and the reply must hold what is expected. Gives the reply.
    async fn step(&mut self, who: &Who, method: &str, by: &str, request: Value, expected: Value) -> Result<Value> {
        let (trace, answer) = self.ask(who, method, &request).await?;
        let reply = answer?;
        self.tell(who, method, by, &told(&request, &reply), &trace);
        let mut found = Vec::new();
        compare("reply", &expected, &reply, &mut found);
        for difference in found {
            self.wrong(&difference);
        }
        Ok(reply)
    }

    /// A step that must be refused, with this reason.
    async fn refused(&mut self, who: &Who, method: &str, request: Value, expected: &str) -> Result<()> {
        let (trace, answer) = self.ask(who, method, &request).await?;
        let Err(status) = answer else {
            self.wrong(&format!("{method} by {who}: expected {expected}, came a reply, trace {trace}"));
            return Ok(());
        };
        let reason = refusal::reason(&status);
        self.tell(who, method, "", &format!("refused: {reason} ({})", status.message()), &trace);
        if reason != expected {
            self.wrong(&format!("expected {expected}"));
        }
        Ok(())
    }

    fn tell(&mut self, who: &Who, method: &str, by: &str, came: &str, trace: &str) {
        self.steps += 1;
        let (_, method) = method.split_once('/').unwrap_or(("", method));
        println!("   {:<20} {method:<18} {by:<6} {came:<62} trace {trace}", who.to_string());
    }

    fn wrong(&mut self, told: &str) {
        self.wrong += 1;
        println!("   WRONG {told}");
    }

    /// Prints the texts of these clauses, each once in a walk.
    fn cite(&mut self, clauses: &[&str]) {
        for clause in clauses.iter().filter_map(|name| name.parse::<Clause>().ok()) {
            if let Some(text) = self.texts.remove(&clause) {
                println!("   {clause:<4} {}", text.en);
            }
        }
    }

    /// The model and both dealers, where the registry does not know them yet.
    async fn prepare(&mut self) -> Result<()> {
        println!("The walk registers units and sales of its own.");
        let product = json!({"product": {"model": MODEL, "productType": "PRODUCT_TYPE_POE_SWITCH"}});
        self.known_or("GetProduct", json!({"model": MODEL}), "CreateProduct", product).await?;
        for id in DEALERS {
            let dealer = json!({"dealerId": id, "name": format!("{id} of the walk")});
            self.known_or("GetDealer", json!({"dealerId": id}), "CreateDealer", dealer).await?;
        }
        let billing = Who::of(Kind::Billing);
        let prices = self.ask(&billing, "ClaimService/ListPrices", &json!({})).await?.1?;
        self.vat_basis_points = match prices["vat"]["basisPoints"].as_u64() {
            Some(rate) => u32::try_from(rate)?,
            None => {
                let vat = json!({"vat": {"basisPoints": 1300, "validFromDate": date(self.today)}});
                self.step(&billing, "ClaimService/SetPrices", "", vat, json!({})).await?;
                1300
            }
        };
        Ok(())
    }

    async fn known_or(&mut self, get: &str, what: Value, create: &str, new: Value) -> Result<()> {
        let registry = Who::of(Kind::Registry);
        match self.ask(&registry, &format!("RegistryService/{get}"), &what).await?.1 {
            Err(status) if status.code() == Code::NotFound => {
                self.step(&registry, &format!("RegistryService/{create}"), "", new, json!({})).await?;
                Ok(())
            }
            answer => Ok(answer.map(drop)?),
        }
    }

    /// A new unit, made 90 and shipped 60 days before `day`, sold to nobody yet. Gives its serial.
    async fn unit(&mut self, day: NaiveDate) -> Result<String> {
        let serial = format!("WK{}", &Uuid::new_v4().simple().to_string().to_uppercase()[..14]);
        let unit = json!({
            "serial": serial, "model": MODEL, "soldByMaker": true,
            "manufacturedDate": date(day - Days::new(90)), "exFactoryDate": date(day - Days::new(60)),
        });
        let expected = json!({"registeredCount": 1});
        let registry = Who::of(Kind::Registry);
        self.step(&registry, "RegistryService/RegisterUnits", "", json!({"units": [unit]}), expected).await?;
        Ok(serial)
    }

    /// The dealer sells a unit on `day`, with an invoice, in Guangdong, to a new customer. Gives the sale.
    async fn sale(&mut self, serial: &str, day: NaiveDate) -> Result<Value> {
        let contact =
            json!({"name": "Walk Customer", "telephone": "020-00000000", "address": "1 Walk Road, Guangzhou"});
        let request = json!({
            "serial": serial, "soldDate": date(day), "region": "CN-GD", "customer": {"contact": contact},
            "invoiceNumber": format!("INV-{serial}"), "warrantyCardNumber": format!("CARD-{serial}"),
        });
        let dealer = Who::named(Kind::Dealer, DEALERS[0]);
        let expected = json!({"sale": {"dealerId": DEALERS[0], "soldDate": date(day)}});
        let reply = self.step(&dealer, "RegistryService/RegisterSale", "", request, expected).await?;
        reply.get("sale").cloned().context("the reply holds no sale")
    }
}

/// A step in a few words: the unit, the day asked about, the state and the decision, or who pays a parcel's way.
fn told(request: &Value, reply: &Value) -> String {
    let claim = reply.get("claim").unwrap_or(&reply["claims"][0]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut words = Vec::new();
    words.extend(text(&request["units"][0]["serial"]));
    words.extend(text(&reply["sale"]["serial"]).or(text(&reply["serial"])));
    words.extend(day(&request["soldDate"]).or(day(&request["date"])));
    words.extend(text(&request["outcome"]));
    words.extend(text(&claim["state"]));
    let decisions = [&claim["finalDecision"], &claim["provisionalDecision"], &reply["decision"]];
    if let Some(decision) = decisions.into_iter().find(|decision| decision.is_object()) {
        let clauses: Vec<_> = decision["clauses"].as_array().into_iter().flatten().filter_map(text).collect();
        words.push(format!("{} by {}", text(&decision["remedy"]).unwrap_or_default(), clauses.join(" ")));
    }
    words.extend(text(&claim["returnNumber"]).map(|number| format!("return {number}")));
    words.extend(match (&reply["shipment"]["arrived"], text(&reply["shipment"]["items"][0]["payer"])) {
        (Value::Bool(true), Some(_)) => Some("arrived".to_owned()),
        (_, payer) => payer.map(|payer| format!("freight: {payer}")),
    });
    words.extend(reply["events"].as_array().map(|events| format!("{} events", events.len())));
    let prefixes = ["GUIDANCE_OUTCOME_", "CLAIM_STATE_", "REMEDY_", "CLAUSE_", "PAYER_"];
    prefixes.iter().fold(words.join(", "), |words, prefix| words.replace(prefix, ""))
}

fn day(date: &Value) -> Option<String> {
    let (year, month, day) = (date["year"].as_i64()?, date["month"].as_i64()?, date["day"].as_i64()?);
    Some(format!("{year}-{month:02}-{day:02}"))
}

/// Notes where `came` differs from what is expected: of an object the fields named (null: not there), of a list of
/// objects each one in any order, of all else the value.
fn compare(path: &str, expected: &Value, came: &Value, found: &mut Vec<String>) {
    let matches = |expected: &Value, came: &Value| {
        let mut found = Vec::new();
        compare("", expected, came, &mut found);
        found.is_empty()
    };
    let right = match (expected, came) {
        (Value::Object(fields), _) => {
            return fields
                .iter()
                .for_each(|(name, value)| compare(&format!("{path}.{name}"), value, &came[name], found));
        }
        (Value::Array(all), Value::Array(those)) if all.iter().all(Value::is_object) => {
            all.len() == those.len() && all.iter().all(|one| those.iter().any(|other| matches(one, other)))
        }
        _ => expected == came,
    };
    if !right {
        found.push(format!("{path}: expected {expected}, came {came}"));
    }
}
