//! Starts everything in order, says how to call it, watches over it, and stops it in the opposite order.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use strum::VariantArray;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    Place, TokenArgs, UpArgs,
    issuer::{self, Desk, Issuer, Kind, Wish},
    leash::{Leash, Leashed},
    postgres::{Cluster, Durability, tail},
    sample,
};
use crate::{
    clock::{Clock, civil_date},
    store,
};

/// A process that a killed `up` left behind still drains for a moment.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longer than a service drains for.
const GRACE: Duration = Duration::from_secs(40);

/// Runs the whole system until Ctrl-C or SIGTERM, then stops it and keeps the data.
/// Fails with one sentence where something cannot start, or ends by itself.
pub async fn up(args: UpArgs) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let run = async {
        let mut system = System::start(&args).await?;
        println!("{}", system.welcome);
        Err(system.first_to_end().await)
    };
    let ended = tokio::select! {
        ended = run => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if ended.is_ok() {
        println!("stopped; the data stays");
    }
    ended
}

/// Prints one token of the issuer that `up` runs, also while `up` does not run.
pub fn token(args: &TokenArgs) -> Result<()> {
    let desk = args.place.desk(&args.place.folder()?)?;
    println!("{}", desk.token(&args.wish)?);
    Ok(())
}

impl Place {
    fn folder(&self) -> Result<PathBuf> {
        if let Some(data) = &self.data {
            return std::path::absolute(data).context("cannot read the current folder");
        }
        if fs::metadata("/proc/self").is_ok_and(|myself| myself.uid() == 0) {
            return Ok(PathBuf::from("/var/lib/warranty"));
        }
        let home = || self.home.as_ref().map(|home| home.join(".local/state"));
        let state = self.state_home.clone().or_else(home);
        Ok(state.context("there is no home folder: name a data folder with --data")?.join("warranty"))
    }

    fn issuer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.issuer_port)
    }

    fn desk(&self, data: &Path) -> Result<Desk> {
        fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        Ok(Desk {
            issuer: Issuer::open(&data.join("issuer.key"))?,
            name: self.issuer_url(),
            audience: self.audience.clone(),
            clock: Clock::system(),
        })
    }
}

/// One of the three services.
struct Service {
    name: &'static str,
    port: u16,
    admin_port: u16,
    log: PathBuf,
    process: Leashed,
}

/// Everything that runs. Fields are dropped in this order: services first, PostgreSQL last.
struct System {
    services: Vec<Service>,
    issuer: JoinHandle<Result<()>>,
    cluster: Option<Cluster>,
    welcome: String,
}

impl System {
    async fn start(args: &UpArgs) -> Result<Self> {
        let data = args.place.folder()?;
        let (cluster, url) = open_database(args, &data).await?;
        let issuer = TcpListener::from_std(free_port(args.place.issuer_port, "--issuer-port").await?)?;
        for (name, port, admin_port) in args.ports() {
            free_port(port, &format!("--{name}-port")).await?;
            free_port(admin_port, &format!("--{name}-admin-port")).await?;
        }
        store::migrate(&url).await.context("cannot migrate the database")?;
        let desk = args.place.desk(&data)?;
        let serial = sample::load(&url, civil_date(desk.clock.now())).await?;
        let welcome = welcome(args, &data, &url, &desk, serial.as_deref())?;
        let mut system =
            Self { services: Vec::new(), issuer: tokio::spawn(issuer::serve(issuer, desk)), cluster, welcome };
        for (name, port, admin_port) in args.ports() {
            system.services.push(Service::start(name, port, admin_port, args, &data, &url)?);
        }
        for service in &mut system.services {
            service.wait_until_ready().await?;
        }
        Ok(system)
    }

    /// Waits until something ends by itself, and says what.
    async fn first_to_end(&mut self) -> anyhow::Error {
        loop {
            sleep(Duration::from_millis(200)).await;
            if let Some(error) = self.services.iter_mut().find_map(Service::ended) {
                return error;
            }
            if let Some(error) = self.cluster.as_mut().and_then(Cluster::ended) {
                return error;
            }
            if self.issuer.is_finished() {
                return anyhow!("the development issuer ended");
            }
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // All drain at once; then the fields drop in order, each waiting for its process.
        for service in &mut self.services {
            service.process.let_go();
        }
        for service in &mut self.services {
            service.process.stop();
        }
        self.issuer.abort();
    }
}

impl Service {
    fn start(name: &'static str, port: u16, admin_port: u16, args: &UpArgs, data: &Path, url: &str) -> Result<Self> {
        let logs = data.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let _ = fs::rename(&log, logs.join(format!("{name}.previous.log")));
        let issuer = args.place.issuer_url();
        let mut command = Command::new(this_binary()?);
        command
            .arg(name)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--admin-listen", &format!("127.0.0.1:{admin_port}")])
            .args(["--jwks", &format!("{issuer}/jwks.json"), "--issuer", &issuer])
            .args(["--audience", &args.place.audience])
            .env("DATABASE_URL", url);
        let leash = Leash { signal: "TERM", grace: GRACE, remove: None, log: &log, account: None };
        let process = leash.run(&command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, port, admin_port, log, process })
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(error) = self.ended() {
                return Err(error);
            }
            let asked = timeout(Duration::from_secs(1), is_ready(self.admin_port)).await;
            if matches!(asked, Ok(Ok(true))) {
                return Ok(());
            }
            sleep(Duration::from_millis(25)).await;
        }
        let log = self.log.display();
        bail!(
            "warranty {} on port {} was not ready within {} s; its log is {log}",
            self.name,
            self.port,
            READY_WITHIN.as_secs()
        )
    }

    fn ended(&mut self) -> Option<anyhow::Error> {
        let status = self.process.ended()?;
        let (name, log) = (self.name, self.log.display());
        Some(anyhow!("warranty {name} ended ({status}); the end of {log}:\n{}", tail(&self.log, 10)))
    }
}

impl UpArgs {
    fn ports(&self) -> [(&'static str, u16, u16); 3] {
        [
            ("coverage", self.coverage_port, self.coverage_admin_port),
            ("claim", self.claim_port, self.claim_admin_port),
            ("logistics", self.logistics_port, self.logistics_admin_port),
        ]
    }
}

async fn open_database(args: &UpArgs, data: &Path) -> Result<(Option<Cluster>, String)> {
    if let Some(url) = &args.database_url {
        return Ok((None, url.clone()));
    }
    let (data, port) = (data.to_owned(), args.postgres_port);
    let start = move || Cluster::start(&data, port, Durability::Safe);
    let cluster = tokio::task::spawn_blocking(start).await??;
    let url = cluster.url().to_owned();
    Ok((Some(cluster), url))
}

/// The readiness probe of a service, without an HTTP client for one line.
async fn is_ready(admin_port: u16) -> std::io::Result<bool> {
    let mut probe = TcpStream::connect(("127.0.0.1", admin_port)).await?;
    probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut status = [0; 12];
    probe.read_exact(&mut status).await?;
    Ok(status.ends_with(b" 200"))
}

async fn free_port(port: u16, flag: &str) -> Result<std::net::TcpListener> {
    let started = Instant::now();
    loop {
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(_) if started.elapsed() < PORT_FREE_WITHIN => sleep(Duration::from_millis(50)).await,
            Err(error) => bail!("port {port} is not free ({error}): choose another with {flag}"),
        }
    }
}

/// The path of this program; after a rebuild, of the new one in its place.
fn this_binary() -> Result<PathBuf> {
    let path = fs::read_link("/proc/self/exe").context("cannot find this program's own file")?;
    let text = path.to_string_lossy();
    Ok(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text)))
}

fn welcome(args: &UpArgs, data: &Path, url: &str, desk: &Desk, serial: Option<&str>) -> Result<String> {
    let mut text = String::from("The warranty system is up. Ctrl-C stops it and keeps the data.\n\n");
    for (name, port, admin) in args.ports() {
        let admin = format!("http://127.0.0.1:{admin}/readyz");
        writeln!(text, "  {name:<10}  http://127.0.0.1:{port}  gRPC and grpc-web; {admin}")?;
    }
    let issuer = args.place.issuer_url();
    writeln!(text, "  issuer      {issuer}  /jwks.json, /token?as=KIND")?;
    if args.database_url.is_none() {
        writeln!(text, "  PostgreSQL  {url}")?;
    }
    writeln!(text, "  data, logs  {}", data.display())?;
    writeln!(text, "\nA token for each kind of caller, good for {} hours:\n", issuer::lifetime().num_hours())?;
    for &kind in Kind::VARIANTS {
        let wish = Wish { r#as: Some(kind), ..Wish::default() };
        writeln!(text, "  {:<9} {}\n", kind.name(), desk.token(&wish)?)?;
    }
    if let Some(serial) = serial {
        text += &calls_to_copy(args, serial)?;
    }
    Ok(text)
}

/// Calls that work as they stand: the unit was sold by the dealer who asks, to a known customer, days ago.
fn calls_to_copy(args: &UpArgs, serial: &str) -> Result<String> {
    let binary = this_binary()?;
    let here = fs::canonicalize(".").unwrap_or_default();
    let binary = binary.strip_prefix(&here).unwrap_or(&binary).display();
    let unit = json!({"serial": serial});
    let claim = json!({"request_id": Uuid::new_v4(), "serial": serial, "report": {"fault_code": "NO_POWER"}});
    let [coverage, claims, _] = args.ports().map(|(_, port, _)| port);
    let mut text = String::from("Three calls to copy:\n\n");
    for (method, request, port, usual) in [
        ("CoverageService/CheckCoverage", unit, coverage, 50051),
        ("ClaimService/FileClaim", claim, claims, 50052),
        ("ClaimService/ListClaims", json!({}), claims, 50052),
    ] {
        write!(text, "  {binary} call {method} '{request}' --as dealer")?;
        if port != usual {
            write!(text, " --address http://127.0.0.1:{port}")?;
        }
        if args.place.issuer_port != 50050 {
            write!(text, " --issuer-url {}", args.place.issuer_url())?;
        }
        text.push('\n');
    }
    Ok(text)
}
