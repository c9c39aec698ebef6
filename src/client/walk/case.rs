//! One claim on its way, a step after the other: who does what, and what must come out.

use anyhow::{Context, Result};
use chrono::{Datelike, Days, Months, NaiveDate};
use serde_json::{Value, json};

use super::{
    DEALERS, Walk,
    ways::{Applicant, FREE_AFTER_PAID_REPAIR, FREE_AFTER_REPAIR, Step, Verdict, Way},
};
use crate::{
    client::{Kind, Who},
    domain::money::Fen,
};

const CARRIER: &str = "SF Express";
const INSPECTION: Fen = Fen(5_000);
const LABOUR: Fen = Fen(18_000);

/// A claim, its unit, and what must be found on it by now.
struct Case<'w> {
    walk: &'w mut Walk,
    way: &'static Way,
    dealer: Who,
    applicant: Who,
    sold: NaiveDate,
    serial: String,
    /// The unit that took the place of the first, and the one owed to the dealer.
    given: String,
    owed: String,
    claim: Value,
    events: Vec<Value>,
}

/// Walks one way: a unit is sold and claimed for, the steps are taken, and the claim and its units are looked at again.
pub async fn take(walk: &mut Walk, way: &'static Way) -> Result<()> {
    let sold = walk.today - Days::new(way.days);
    let serial = walk.unit(sold).await?;
    let sale = walk.sale(&serial, sold).await?;
    let customer = sale["customerId"].as_str().context("the sale names no customer")?;
    let dealer = Who::named(Kind::Dealer, DEALERS[0]);
    let applicant = match way.applicant {
        Applicant::Dealer => dealer.clone(),
        Applicant::Customer => Who::named(Kind::Customer, customer),
    };
    let (given, owed) = Default::default();
    let (claim, events) = Default::default();
    let mut case = Case { walk, way, dealer, applicant, sold, serial, given, owed, claim, events };
    case.file(customer).await?;
    for step in way.steps {
        case.perform(step).await?;
    }
    case.look_back().await?;
    case.look_at_units().await
}

impl Case<'_> {
    async fn file(&mut self, customer: &str) -> Result<()> {
        let (by, dealer) = match self.way.applicant {
            Applicant::Dealer => ("M1", json!(DEALERS[0])),
            Applicant::Customer => ("M2", Value::Null),
        };
        let expected = json!({
            "dealerId": dealer, "customerId": customer, "voucherVerified": true, "finalDecision": null,
            "provisionalDecision": self.decided(self.way.filed, vec![]),
        });
        let (applicant, request) = (self.applicant.clone(), self.filing());
        self.advance(&applicant, "FileClaim", by, request, &[("FILED", "FILED")], expected).await
    }

    /// The usual fault of the unit, with every fact told.
    fn filing(&self) -> Value {
        json!({"serial": self.serial, "report": {
            "part": format!("PART_{}", self.way.part), "faultCode": "NO_POWER", "performanceFault": true,
            "appearance": "APPEARANCE_INTACT", "powerSupplyDamage": false, "regionOfUse": "CN-GD",
        }})
    }

    async fn perform(&mut self, step: &Step) -> Result<()> {
        let (applicant, depot) = (self.applicant.clone(), Who::of(Kind::Depot));
        match *step {
            Step::Guide(outcome, reason, state) => self.guide(outcome, reason, state).await,
            Step::Swap => {
                self.given = self.walk.unit(self.sold).await?;
                self.owed = self.walk.unit(self.sold).await?;
                let (request, expected) = (json!({"givenSerial": self.given}), json!({"swappedFor": self.given}));
                self.advance(&applicant, "RecordSwap", "M3", request, &[("SWAPPED", "SWAPPED")], expected).await
            }
            Step::SendIn => self.send_in().await,
            Step::Inspect(no_fault, findings, verdict, state) => {
                let findings: Vec<_> = findings.iter().map(|clause| format!("CLAUSE_{clause}")).collect();
                let request = json!({"noFaultFound": no_fault, "findings": findings});
                let expected = json!({"finalDecision": self.decided(verdict, vec![])});
                self.advance(&depot, "RecordInspection", "", request, &[("INSPECTED", state)], expected).await
            }
            Step::Quote => self.quote().await,
            Step::Pay => {
                let fen = self.quoted();
                let request = json!({"amount": money(fen), "reference": format!("PAY-{}", self.serial)});
                let expected = json!({"paid": true, "charge": money(fen)});
                self.advance(&Who::of(Kind::Billing), "RecordPayment", "P1", request, &[("PAID", "READY")], expected)
                    .await
            }
            Step::Repair => {
                let events = [("REPAIRED", "READY")];
                self.advance(&depot, "RecordRepair", "M4", json!({}), &events, json!({})).await
            }
            Step::Replace(reason) => {
                self.given = self.walk.unit(self.sold).await?;
                let request = json!({"givenSerial": self.given, "reason": reason});
                let (events, expected) = ([("REPLACED", "READY")], json!({"outcomeSerial": self.given}));
                self.advance(&depot, "RecordReplacement", "M4", request, &events, expected).await
            }
            Step::SendOut(outcome) => self.send_out(outcome).await,
            Step::Cancel => {
                let (request, expected) = (json!({"reason": "works again"}), json!({"reason": "works again"}));
                self.advance(&applicant, "CancelClaim", "", request, &[("CANCELLED", "CANCELLED")], expected).await
            }
            Step::Refusals => self.refusals().await,
        }
    }

    /// Support guides; the provisional decision is made anew. An accessory is granted at once, which is final.
    async fn guide(&mut self, outcome: &str, reason: &str, state: &'static str) -> Result<()> {
        let decision = self.decided(self.way.filed, vec![]);
        let mut expected = json!({"provisionalDecision": decision});
        let mut events = vec![("GUIDED", state)];
        if state == "READY" {
            events = vec![("GUIDED", "AUTHORIZED"), ("ACCESSORY_GRANTED", "READY")];
            expected["finalDecision"] = decision;
        }
        if state == "REJECTED" {
            expected["reason"] = json!(reason);
        }
        let request = json!({"outcome": format!("GUIDANCE_OUTCOME_{outcome}"), "reason": reason});
        self.advance(&Who::of(Kind::Support), "RecordGuidance", "M8", request, &events, expected).await
    }

    /// Billing names its own prices, with a reason; the applicant accepts what it read.
    async fn quote(&mut self) -> Result<()> {
        let line = |kind: &str, code: &str, fen| json!({"kind": format!("PRICE_KIND_{kind}"), "code": code, "quantity": 1, "unitPrice": money(fen), "reason": "the walk's own price"});
        let changes = json!([line("INSPECTION", "", INSPECTION), line("LABOUR", "NO_POWER", LABOUR)]);
        let (request, applicant) = (json!({"changes": changes}), self.applicant.clone());
        self.advance(&Who::of(Kind::Billing), "QuoteRepair", "P1", request, &[("QUOTED", "QUOTED")], json!({})).await?;
        let request = json!({"quoteId": self.claim["quoteId"]});
        self.advance(&applicant, "AcceptQuote", "P1", request, &[("QUOTE_ACCEPTED", "IN_REPAIR")], json!({})).await
    }

    /// What the quote must come to, tax included.
    fn quoted(&self) -> Fen {
        let subtotal = Fen(INSPECTION.0 + LABOUR.0);
        Fen(subtotal.0 + subtotal.vat(self.walk.vat_basis_points).0)
    }

    /// The applicant pays for the way to the depot.
    async fn send_in(&mut self) -> Result<()> {
        let number = self.claim["returnNumber"].as_str().context("no return number was issued")?.to_owned();
        let request = json!({"claimIds": [self.claim["claimId"]], "carrier": CARRIER});
        let expected = self.parcel(&self.serial, "SENDER", "M5");
        self.expect("RETURN_OPENED", "IN_TRANSIT");
        let applicant = self.applicant.clone();
        let reply = self.walk.step(&applicant, "LogisticsService/OpenReturn", "M7 M5", request, expected).await?;
        let item = json!({
            "returnNumber": number, "serial": self.serial, "appearance": "APPEARANCE_INTACT", "seal": "SEAL_INTACT",
        });
        let request = json!({"shipmentId": reply["shipment"]["shipmentId"], "items": [item]});
        self.expect("RECEIVED", "RECEIVED");
        let expected = json!({"claims": [self.stands()], "shipment": {"arrived": true}});
        let depot = Who::of(Kind::Depot);
        let reply = self.walk.step(&depot, "LogisticsService/ReceiveReturn", "", request, expected).await?;
        self.claim = reply["claims"][0].clone();
        Ok(())
    }

    /// The final decision says who pays for the way back.
    async fn send_out(&mut self, outcome: &str) -> Result<()> {
        let item = json!({"claimId": self.claim["claimId"], "givenSerial": self.owed});
        let in_box = match outcome {
            "REPLENISHMENT" => &self.owed,
            "REPLACED" => &self.given,
            "ACCESSORY" => "",
            _ => &self.serial,
        };
        let payer = if outcome == "AS_IT_CAME" || self.claim["paid"] == true { "SENDER" } else { "MAKER" };
        let expected = self.parcel(in_box, payer, "M6");
        self.expect("DISPATCHED", "DISPATCHED");
        let request = json!({"items": [item], "carrier": CARRIER});
        let depot = Who::of(Kind::Depot);
        let reply = self.walk.step(&depot, "LogisticsService/DispatchOutbound", "M6", request, expected).await?;
        let request = json!({"shipmentId": reply["shipment"]["shipmentId"]});
        self.expect("DELIVERED", "CLOSED");
        let expected = json!({"shipment": {"arrived": true}});
        self.walk.step(&depot, "LogisticsService/ConfirmDelivery", "", request, expected).await?;
        self.claim["outcome"] = json!(format!("CLAIM_OUTCOME_{outcome}"));
        Ok(())
    }

    async fn refusals(&mut self) -> Result<()> {
        let (dealer, stranger) = (self.dealer.clone(), Who::named(Kind::Dealer, DEALERS[1]));
        let claim = json!({"claimId": self.claim["claimId"]});
        let again = self.filing();
        self.walk.refused(&dealer, "ClaimService/FileClaim", again, "OPEN_CLAIM_EXISTS").await?;
        self.walk.refused(&stranger, "ClaimService/GetClaim", claim.clone(), "NOT_FOUND").await?;
        self.walk.refused(&Who::of(Kind::Depot), "ClaimService/RecordRepair", claim, "WRONG_STATE").await
    }

    /// The claim as it must now stand, its events numbered without gaps, and both its decisions kept.
    async fn look_back(&mut self) -> Result<()> {
        let (applicant, request) = (self.applicant.clone(), json!({"claimId": self.claim["claimId"]}));
        let mut expected = self.stands();
        for kept in ["provisionalDecision", "finalDecision", "outcome"] {
            expected[kept] = self.claim[kept].clone();
        }
        let expected = json!({"claim": expected});
        self.walk.step(&applicant, "ClaimService/GetClaim", "", request.clone(), expected).await?;
        let expected = json!({"events": self.events});
        self.walk.step(&applicant, "ClaimService/ListClaimEvents", "", request, expected).await?;
        Ok(())
    }

    /// The coverage of the units that the way leaves behind.
    async fn look_at_units(&mut self) -> Result<()> {
        let today = self.walk.today;
        if self.claim["outcome"] == "CLAIM_OUTCOME_REPAIRED" {
            let last = after(today, 3);
            let paid = self.claim["paid"] == true;
            let (clause, free) = if paid { ("P2", FREE_AFTER_PAID_REPAIR) } else { ("T6", FREE_AFTER_REPAIR) };
            let repaired = window(clause, today, last);
            let serial = self.serial.clone();
            self.covered(&serial, today, self.decided(self.way.filed, vec![repaired.clone()])).await?;
            self.covered(&serial, last, self.decided(free, vec![repaired])).await?;
        }
        if !self.given.is_empty() {
            // T5: the unit replaced is covered no longer; the other has its dates.
            let superseded = json!({
                "remedy": "REMEDY_NONE", "clauses": ["CLAUSE_T5"], "supersededBy": self.given,
                "windows": null, "startDate": null, "inboundFreight": null, "outboundFreight": null,
            });
            let (serial, given) = (self.serial.clone(), self.given.clone());
            self.covered(&serial, today, superseded).await?;
            self.covered(&given, today, self.decided(self.way.filed, vec![])).await?;
        }
        if !self.owed.is_empty() {
            // M3: what the maker owes after a swap is new stock; nobody's dates come with it (T12).
            let owed = self.owed.clone();
            self.covered(&owed, today, json!({"startBasis": "START_BASIS_EX_FACTORY"})).await?;
        }
        Ok(())
    }

    async fn covered(&mut self, serial: &str, day: NaiveDate, decision: Value) -> Result<()> {
        let request = json!({"serial": serial, "date": date(day), "report": {"faultCode": "NO_POWER"}});
        let dealer = self.dealer.clone();
        let expected = json!({"decision": decision});
        self.walk.step(&dealer, "CoverageService/CheckCoverage", "", request, expected).await?;
        Ok(())
    }

    /// A call of the claim service that moves the claim on through these events, and what must then stand on it.
    async fn advance(
        &mut self,
        who: &Who,
        method: &str,
        by: &str,
        mut request: Value,
        events: &[(&str, &str)],
        mut expected: Value,
    ) -> Result<()> {
        if self.claim.is_object() {
            request["claimId"] = self.claim["claimId"].clone();
            request["version"] = self.claim["version"].clone();
        }
        for (event, state) in events {
            self.expect(event, state);
        }
        for (name, value) in self.stands().as_object_mut().into_iter().flatten() {
            expected[name] = value.take();
        }
        let mut expected = json!({"claim": expected});
        if method == "RecordInspection" && expected["claim"]["finalDecision"]["outboundFreight"] == "PAYER_SENDER" {
            // M8: whom to call stands in every answer that is not a yes.
            expected["contact"] = json!({"telephone": "400-000-8380"});
        }
        let reply = self.walk.step(who, &format!("ClaimService/{method}"), by, request, expected).await?;
        self.claim = reply["claim"].clone();
        Ok(())
    }

    /// The next event that the claim must have, and the state that it leads to.
    fn expect(&mut self, event: &str, state: &str) {
        self.events.push(json!({
            "sequence": (self.events.len() + 1).to_string(),
            "type": format!("CLAIM_EVENT_TYPE_{event}"), "state": format!("CLAIM_STATE_{state}"),
        }));
    }

    /// Where the claim must stand: after its last event, counted.
    fn stands(&self) -> Value {
        let last = self.events.last().unwrap_or(&Value::Null);
        json!({"state": last["state"], "version": last["sequence"]})
    }

    /// A parcel with one unit in it, who pays by which clause, and who is at its other end.
    fn parcel(&self, serial: &str, payer: &str, clause: &str) -> Value {
        let serial = if serial.is_empty() { Value::Null } else { json!(serial) };
        let item = json!({"serial": serial, "payer": format!("PAYER_{payer}"), "clause": format!("CLAUSE_{clause}")});
        let end = format!("{}Id", self.applicant.kind);
        json!({"shipment": {"items": [item], end: self.applicant.id}})
    }

    /// A decision: the remedy, the deciding clauses, the windows of the sale (T1, T2, T7) and `more`, freight both ways.
    fn decided(&self, verdict: Verdict, more: Vec<Value>) -> Value {
        let sold = self.sold;
        let mut windows = vec![
            window("T1", sold, sold + Days::new(15)),
            window("T2", sold, after(sold, 12)),
            window("T7", sold, sold + Days::new(7)),
        ];
        windows.extend(more);
        let clauses: Vec<_> = verdict.clauses.iter().map(|clause| format!("CLAUSE_{clause}")).collect();
        json!({
            "remedy": format!("REMEDY_{}", verdict.remedy), "clauses": clauses, "windows": windows,
            "startBasis": "START_BASIS_INVOICE", "startDate": date(sold),
            "inboundFreight": "PAYER_SENDER", "outboundFreight": format!("PAYER_{}", verdict.payer),
        })
    }
}

fn money(fen: Fen) -> Value {
    let (units, nanos) = fen.units_and_nanos();
    json!({"currencyCode": "CNY", "units": units.to_string(), "nanos": nanos})
}

fn window(clause: &str, first: NaiveDate, last: NaiveDate) -> Value {
    json!({"clause": format!("CLAUSE_{clause}"), "firstDate": date(first), "lastDate": date(last)})
}

/// The same day so many months later; where that day does not exist, the last day of that month.
fn after(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_add_months(Months::new(months)).expect("a day of this century")
}

/// A civil date as the contracts write it.
pub fn date(day: NaiveDate) -> Value {
    json!({"year": day.year(), "month": day.month(), "day": day.day()})
}
