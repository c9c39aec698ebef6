//! What `up` says once everything runs: where, with which tokens, and what to try.

use std::{
    fmt::{Error, Write},
    fs,
    path::Path,
};

use anyhow::Result;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use strum::VariantArray;

use super::{
    Front, Place, gateway,
    issuer::{Desk, HOURS, Kind, Who},
    up::{SERVICES, this_binary},
};

/// The usual first port: the one where the command line's own calls look.
const USUAL_PORT: u16 = 7050;

pub(super) fn text(place: &Place, data: &Path, database: &str, desk: &Desk, serial: Option<&str>) -> Result<String> {
    let mut text = format!("The warranty system is up. Ctrl-C stops it and keeps the data in {}\n\n", data.display());
    for (number, name) in (0..).zip(SERVICES) {
        let (url, ready) = (place.service_url(number), place.ready_url(number));
        writeln!(text, "  {name:<10}  {url}  gRPC and grpc-web; probe {ready}")?;
    }
    writeln!(text, "  issuer      {}  /jwks.json, /token?as=KIND", place.issuer_url())?;
    writeln!(text, "  PostgreSQL  {database}")?;

    let program = this_binary()?;
    let here = fs::canonicalize(".").unwrap_or_default();
    let program = program.strip_prefix(&here).unwrap_or(&program).display();
    let data = place.data.as_ref().map_or(String::new(), |data| format!(" --data {}", data.display()));
    let port = if place.port == USUAL_PORT { String::new() } else { format!(" --port {}", place.port) };
    let later = format!("{program} token --as KIND{data}{port}");
    writeln!(text, "\nA token for each kind of caller, good for {HOURS} hours; later: {later}\n")?;
    for kind in Kind::VARIANTS {
        let name = kind.to_string().to_uppercase();
        writeln!(text, "export {name}_TOKEN={}", desk.token(&Who::of(*kind))?)?;
    }

    let beside = if place.port == USUAL_PORT { String::new() } else { format!(" UP={}", place.port) };
    writeln!(text, "\nThe customer's page, in another terminal: make page{beside}")?;
    writeln!(text, "\nTo try it, copy into another terminal:\n")?;
    if place.port != USUAL_PORT {
        exports(&mut text, place)?;
    }
    if let Some(serial) = serial {
        // The sample dealer sold the unit days ago.
        writeln!(text, "  {program} call CoverageService/CheckCoverage '{{\"serial\": \"{serial}\"}}' --as dealer")?;
        let claim = format!(r#"{{"serial": "{serial}", "report": {{"fault_code": "NO_POWER"}}}}"#);
        writeln!(text, "  {program} call ClaimService/FileClaim '{claim}' --as dealer")?;
        writeln!(text, "  {program} call ClaimService/ListClaims --as dealer\n")?;
    }
    writeln!(
        text,
        "Then walk a claim of every kind through the system, each answer checked against the commitment:\n"
    )?;
    writeln!(text, "  {program} walk")?;
    Ok(text)
}

/// What to try through the gateway: gRPC by TLS, JSON, and the customer's page.
pub(super) fn gateway(place: &Place, front: &Front, data: &Path, desk: &Desk, serial: Option<&str>) -> Result<String> {
    let url = gateway::url(place, front);
    let certificate = gateway::certificate(data, front);
    let certificate = certificate.display();
    let serial = serial.unwrap_or("VT2008003979");
    let mut text = format!(
        r#"
The gateway is at {url} (gRPC, grpc-web, JSON); its Envoy tells of itself at http://127.0.0.1:{admin}

  target/tools/bin/buf curl --protocol grpc --cacert {certificate} --schema proto -H "authorization: Bearer $DEALER_TOKEN" -d '{{"serial": "{serial}"}}' \
      {url}/aopre.warranty.v1.CoverageService/CheckCoverage
  curl --cacert {certificate} -H "authorization: Bearer $DEALER_TOKEN" '{url}/v1/claims?page_size=10'
"#,
        admin = gateway::ports(place).1,
    );
    if front.page.is_some() {
        let page = format!("{url}/#token={}", desk.token(&Who::of(Kind::Customer))?);
        let phone = if front.host.is_loopback() { String::new() } else { drawn(&page)? };
        writeln!(
            text,
            "\nThe customer's page, signed in as the sample's customer, whose unit is {serial}. The certificate is\n\
             nobody's: let the browser take it for this machine.\n\n  {page}\n{phone}"
        )?;
    }
    Ok(text)
}

/// An address as a QR code for a phone's camera: black on white, also where the terminal writes white on black.
fn drawn(address: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(address, EcLevel::L)?.render::<Dense1x2>().build();
    Ok(code.lines().map(|line| format!("\n\x1b[30;107m{line}\x1b[0m")).collect())
}

fn exports(text: &mut String, place: &Place) -> Result<(), Error> {
    writeln!(text, "  export WARRANTY_ISSUER_URL={}", place.issuer_url())?;
    for (number, name) in (0..).zip(SERVICES) {
        writeln!(text, "  export WARRANTY_{}_ADDRESS={}", name.to_uppercase(), place.service_url(number))?;
    }
    writeln!(text)
}
