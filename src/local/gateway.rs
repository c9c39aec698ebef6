//! `warranty up --gateway`: Envoy before the services, as the chart runs it, with a certificate made at the start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Front, Place, issuer::AUDIENCE, leash::Leashed};
use crate::contract::DESCRIPTORS;

/// The chart's own files.
const CONFIGURATION: &str = include_str!("../../helm/files/envoy.yaml");
const SECRET: &str = include_str!("../../helm/files/certificate.yaml");

/// Where callers reach the gateway, and where its Envoy tells of itself: the tenth and eleventh port.
pub(super) fn ports(place: &Place) -> (u16, u16) {
    (place.port + 9, place.port + 10)
}

/// Where callers on this machine, and in its network, reach the gateway.
pub(super) fn url(place: &Place, front: &Front) -> String {
    format!("https://{}:{}", front.host, ports(place).0)
}

/// The certificate of the gateway, which signs itself; the key lies beside it.
pub(super) fn certificate(data: &Path, front: &Front) -> PathBuf {
    data.join("gateway/tls").join(front.host.to_string()).join("tls.crt")
}

/// Starts Envoy, the program at `envoy`, before the services of `place`.
pub(super) fn start(place: &Place, data: &Path, envoy: &Path, front: &Front) -> Result<Leashed> {
    let folder = data.join("gateway");
    let certificate = certificate(data, front);
    let tls = certificate.parent().context("the certificate lies in a folder")?;
    fs::create_dir_all(tls).with_context(|| format!("cannot make {}", tls.display()))?;
    if !certificate.exists() {
        sign(tls, front)?;
    }
    let (filled, secret) = (folder.join("envoy.yaml"), folder.join("certificate.yaml"));
    fs::write(folder.join("contract.binpb"), DESCRIPTORS)?;
    fs::write(&secret, fill(SECRET, &[("tls", text(tls))]))?;
    let mut values = vec![("secret", text(&secret)), ("descriptors", text(&folder.join("contract.binpb")))];
    let page = front.page.as_deref().map_or_else(|| Ok(folder.join("page")), std::path::absolute)?;
    values.push(("page", text(&page)));
    values.extend(reached(place, front));
    fs::write(&filled, fill(CONFIGURATION, &values))?;
    let log = folder.join("envoy.log");
    let _ = fs::rename(&log, folder.join("envoy.previous.log"));
    let mut command = Command::new(std::path::absolute(envoy)?);
    // Several may run on one machine.
    command.arg("-c").arg(filled).args(["--use-dynamic-base-id", "--log-level", "warning", "--drain-time-s", "5"]);
    Leashed::start("envoy", &command, &log, "TERM", None, None)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `file` with these placeholders filled.
fn fill(file: &str, values: &[(impl AsRef<str>, String)]) -> String {
    values
        .iter()
        .fold(file.to_owned(), |text, (name, value)| text.replace(&format!("{{{{ .{} }}}}", name.as_ref()), value))
}

/// Where the gateway listens, whom it calls, and whom it lets call.
fn reached(place: &Place, front: &Front) -> Vec<(&'static str, String)> {
    let (port, admin_port) = ports(place);
    let issuer = place.issuer_url();
    let here = "127.0.0.1".to_owned();
    // Pages served on this machine, by any port; and its own.
    let origins =
        format!(r"https?://(127\\.0\\.0\\.1|localhost|{}):[0-9]+", front.host.to_string().replace('.', r"\\."));
    let mut values = vec![
        ("listen", if front.host.is_loopback() { front.host.to_string() } else { "0.0.0.0".to_owned() }),
        ("port", port.to_string()),
        ("admin_port", admin_port.to_string()),
        ("operations_listen", here.clone()),
        ("operations_port", (admin_port + 1).to_string()),
        ("jwks_url", format!("{issuer}/jwks.json")),
        ("jwks_scheme", "http".to_owned()),
        ("issuer", issuer),
        ("audience", AUDIENCE.to_owned()),
        ("origins", origins),
        ("rate", front.rate.to_string()),
        ("burst", front.rate.div_ceil(4).to_string()),
        ("trace_percent", "100".to_owned()),
    ];
    for (host, port, number) in [
        ("coverage_host", "coverage_port", place.port + 1),
        ("claim_host", "claim_port", place.port + 2),
        ("logistics_host", "logistics_port", place.port + 3),
        ("ratelimit_host", "ratelimit_port", place.port + 8),
        ("jwks_host", "jwks_port", place.port),
        ("otlp_host", "otlp_port", 4317),
    ] {
        values.extend([(host, here.clone()), (port, number.to_string())]);
    }
    values
}

/// Makes a certificate for this machine in `folder`.
fn sign(folder: &Path, front: &Front) -> Result<()> {
    let names = format!("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{}", front.host);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"])
        .args(["-subj", "/CN=localhost", "-addext", &names])
        .args(["-keyout", "tls.key", "-out", "tls.crt"])
        .current_dir(folder)
        .output()
        .context("cannot run openssl, which makes the gateway's certificate")?;
    ensure!(made.status.success(), "openssl made no certificate: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
