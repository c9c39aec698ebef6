//! `warranty up --gateway`: Envoy before the services, as the chart runs it, with a certificate made at the start.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{Place, issuer::AUDIENCE, leash::Leashed, up::SERVICES};
use crate::contract::DESCRIPTORS;

/// The chart's own file.
const CONFIGURATION: &str = include_str!("../../helm/files/envoy.yaml");
/// Pages served on this machine, by any port.
const ORIGINS: &str = r"https?://(127\\.0\\.0\\.1|localhost):[0-9]+";

/// Where callers reach the gateway, and where its Envoy tells of itself: the tenth and eleventh port.
pub(super) fn ports(place: &Place) -> (u16, u16) {
    (place.port + 9, place.port + 10)
}

/// Starts Envoy, the program at `envoy`, before the services of `place`. `burst` is how many calls of one caller it lets
/// through in a second.
pub(super) fn start(place: &Place, data: &Path, envoy: &Path, burst: u32) -> Result<Leashed> {
    let folder = data.join("gateway");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    certificate(&folder)?;
    fs::write(folder.join("contract.binpb"), DESCRIPTORS)?;
    let filled = folder.join("envoy.yaml");
    fs::write(&filled, fill(place, &folder, burst))?;
    let log = folder.join("envoy.log");
    let _ = fs::rename(&log, folder.join("envoy.previous.log"));
    let envoy = std::path::absolute(envoy)?;
    let mut command = Command::new(envoy);
    // Several may run on one machine.
    command.arg("-c").arg(filled).args(["--use-dynamic-base-id", "--log-level", "warning", "--drain-time-s", "5"]);
    Leashed::start("envoy", &command, &log, "TERM", None, None)
}

/// The configuration with every placeholder filled.
fn fill(place: &Place, folder: &Path, burst: u32) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (port, admin_port) = ports(place);
    let issuer = place.issuer_url();
    let mut values: Vec<(String, String)> = [
        ("listen", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("admin_port", admin_port.to_string()),
        ("operations_port", (admin_port + 1).to_string()),
        ("certificate", path("certificate.pem")),
        ("key", path("key.pem")),
        ("descriptors", path("contract.binpb")),
        ("jwks_url", format!("{issuer}/jwks.json")),
        ("jwks_scheme", "http".to_owned()),
        ("issuer", issuer),
        ("audience", AUDIENCE.to_owned()),
        ("origins", ORIGINS.to_owned()),
        ("burst", burst.to_string()),
        ("trace_percent", "100".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let services = SERVICES.into_iter().zip(place.port + 1..);
    for (name, port) in services.chain([("ratelimit", place.port + 8), ("jwks", place.port), ("otlp", 4317)]) {
        values.push((format!("{name}_host"), "127.0.0.1".to_owned()));
        values.push((format!("{name}_port"), port.to_string()));
    }
    values
        .iter()
        .fold(CONFIGURATION.to_owned(), |text, (name, value)| text.replace(&format!("{{{{ .{name} }}}}"), value))
}

/// A certificate for this machine that signs itself, kept for as long as it lasts.
fn certificate(folder: &Path) -> Result<()> {
    if folder.join("certificate.pem").exists() {
        return Ok(());
    }
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .context("cannot run openssl, which makes the gateway's certificate")?;
    ensure!(made.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
