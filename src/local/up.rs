//! Starts everything in order, watches over it, and stops it in the opposite order.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use super::{
    Place, TokenArgs, UpArgs, gateway,
    installation::is_root,
    issuer::{AUDIENCE, Desk, Issuer},
    leash::Leashed,
    postgres::{Cluster, take_port},
    sample, welcome,
};
use crate::{
    clock::{Clock, civil_date},
    store,
};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// The three services, as commands of this binary.
pub(super) const SERVICES: [&str; 3] = ["coverage", "claim", "logistics"];

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
    let folder = args.place.folder()?;
    // A key made here would sign tokens that no service takes.
    if !folder.join("issuer.key").exists() {
        bail!("{} holds no issuer's key: name the folder of the running `warranty up` with --data", folder.display());
    }
    let desk = args.place.desk(&folder)?;
    println!("{}", desk.token(&args.who)?);
    Ok(())
}

impl Place {
    fn folder(&self) -> Result<PathBuf> {
        match (&self.data, &self.home) {
            (Some(data), _) => std::path::absolute(data).context("cannot read the current folder"),
            (None, _) if is_root() => Ok(PathBuf::from("/var/lib/warranty")),
            (None, Some(home)) => Ok(home.join(".local/state/warranty")),
            (None, None) => bail!("there is no home folder: name a data folder with --data"),
        }
    }

    fn desk(&self, data: &Path) -> Result<Desk> {
        fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let issuer = Issuer::open(&data.join("issuer.key"))?;
        Ok(Desk { issuer, url: self.issuer_url(), clock: Clock::system() })
    }

    pub(super) fn issuer_url(&self) -> String {
        self.url(0)
    }

    pub(super) fn service_url(&self, number: u16) -> String {
        self.url(1 + number)
    }

    pub(super) fn ready_url(&self, number: u16) -> String {
        format!("{}/readyz", self.url(4 + number))
    }

    fn url(&self, place: u16) -> String {
        format!("http://127.0.0.1:{}", self.port + place)
    }

    /// Takes the issuer's port, and sees that those of the services and their probes are free, and a gateway's.
    fn take_ports(&self, gateway: bool) -> Result<TcpListener> {
        let gateway = gateway.then(|| self.port + 8..=self.port + 11).into_iter().flatten();
        for port in (self.port + 1..=self.port + 6).chain(gateway) {
            take_port(port)?;
        }
        take_port(self.port)
    }
}

/// Everything that runs. Fields are dropped in this order: services first, PostgreSQL last.
struct System {
    services: Vec<Leashed>,
    cluster: Option<Cluster>,
    welcome: String,
}

impl System {
    async fn start(args: &UpArgs) -> Result<Self> {
        let place = &args.place;
        let data = place.folder()?;
        let (cluster, url) = open_database(args, &data).await?;
        let (ports, with_gateway) = (place.clone(), args.gateway.is_some());
        let listener = tokio::task::spawn_blocking(move || ports.take_ports(with_gateway)).await??;
        store::migrate(&url).await.context("cannot migrate the database")?;
        let desk = place.desk(&data)?;
        let today = civil_date(desk.clock.now());
        sample::load(&url, today).await?;
        let serial = sample::sell(&url, today).await?;
        let mut welcome = welcome::text(place, &data, &url, &desk, serial.as_deref())?;
        if with_gateway {
            welcome.push_str(&welcome::gateway(place, &args.front, &data, &desk, serial.as_deref())?);
        }
        let mut system = Self { services: Vec::new(), cluster, welcome };
        listener.set_nonblocking(true)?;
        tokio::spawn(desk.serve(tokio::net::TcpListener::from_std(listener)?));
        for (number, name) in (0..).zip(SERVICES) {
            system.services.push(serve(args, number, name, &data, &url)?);
        }
        for (number, service) in (0..).zip(&mut system.services) {
            wait_until_ready(service, &place.ready_url(number)).await?;
        }
        if let Some(envoy) = &args.gateway {
            system.services.push(ratelimit(place, &data, &url)?);
            let mut gateway = gateway::start(place, &data, envoy, &args.front)?;
            let ready = format!("http://127.0.0.1:{}/ready", gateway::ports(place).1);
            wait_until_ready(&mut gateway, &ready).await?;
            system.services.push(gateway);
        }
        Ok(system)
    }

    /// Waits until something ends by itself, and says what.
    async fn first_to_end(&mut self) -> anyhow::Error {
        loop {
            sleep(Duration::from_millis(200)).await;
            let service = self.services.iter_mut().find_map(Leashed::ended);
            if let Some(error) = service.or_else(|| self.cluster.as_mut()?.ended()) {
                return error;
            }
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // All drain at once; then the fields drop in order, each waiting for its process.
        self.services.iter_mut().for_each(Leashed::let_go);
    }
}

async fn open_database(args: &UpArgs, data: &Path) -> Result<(Option<Cluster>, String)> {
    if let Some(url) = &args.database_url {
        return Ok((None, url.clone()));
    }
    let (data, port) = (data.to_owned(), args.place.port + 7);
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&data, port)).await??;
    let url = cluster.url().to_owned();
    Ok((Some(cluster), url))
}

/// Starts a service; the log of its last run stays beside the new one.
fn serve(args: &UpArgs, number: u16, name: &str, data: &Path, database_url: &str) -> Result<Leashed> {
    let place = &args.place;
    let issuer = place.issuer_url();
    let mut command = process(name, place.port + 1 + number, database_url)?;
    command
        .args(["--admin-listen", &format!("127.0.0.1:{}", place.port + 4 + number)])
        .args(["--jwks", &format!("{issuer}/jwks.json"), "--issuer", &issuer, "--audience", AUDIENCE])
        .args(["--allowed-origins", &args.allowed_origins])
        .env("WARRANTY_EVIDENCE", data.join("evidence"));
    leashed(name, &command, data)
}

/// What answers the gateway.
fn ratelimit(place: &Place, data: &Path, database_url: &str) -> Result<Leashed> {
    leashed("ratelimit", &process("ratelimit", place.port + 8, database_url)?, data)
}

fn process(name: &str, port: u16, database_url: &str) -> Result<Command> {
    let mut command = Command::new(this_binary()?);
    command.arg(name).args(["--listen", &format!("127.0.0.1:{port}")]).env("DATABASE_URL", database_url);
    Ok(command)
}

fn leashed(name: &str, command: &Command, data: &Path) -> Result<Leashed> {
    let logs = data.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let log = logs.join(format!("{name}.log"));
    let _ = fs::rename(&log, logs.join(format!("{name}.previous.log")));
    Leashed::start(&format!("warranty {name}"), command, &log, "TERM", None, None)
}

async fn wait_until_ready(service: &mut Leashed, url: &str) -> Result<()> {
    let polled = async {
        while !reqwest::get(url).await.is_ok_and(|reply| reply.status().is_success()) {
            if let Some(error) = service.ended() {
                return Err(error);
            }
            sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    };
    match timeout(READY_WITHIN, polled).await {
        Ok(ready) => ready,
        Err(_) => bail!("{url} was not ready within {} s; {}", READY_WITHIN.as_secs(), service.last_words()),
    }
}

/// The path of this program; after a rebuild, of the new one in its place.
pub(super) fn this_binary() -> Result<PathBuf> {
    let path = fs::read_link("/proc/self/exe").context("cannot find this program's own file")?;
    let text = path.to_string_lossy();
    Ok(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text)))
}
