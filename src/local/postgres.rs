//! A private PostgreSQL from the binaries that the machine has: for `warranty up`, and for the tests.
//!
//! `DATA/pg` is the server's own folder, `DATA/password` its password, `DATA/lock` is held while it is in use. The
//! server listens on 127.0.0.1 alone. PostgreSQL refuses root, so for root it runs under an account without rights.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rand::{Rng, distr::Alphanumeric};

use super::{
    installation::{Account, account_for_server, find_binaries, major_of_folder, roomy_folder},
    leash::{Leash, Leashed},
};

/// The database's owner, and the database's name.
const NAME: &str = "warranty";
/// A cold start after a crash replays the log: longer than any clean one.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged.
    Safe,
    /// Everything: nothing waits for a disk.
    Throwaway,
}

/// A running private server. It stops when dropped, and when this process dies for whatever reason.
#[derive(Debug)]
pub struct Cluster {
    server: Leashed,
    url: String,
    log: PathBuf,
    _lock: File,
}

impl Cluster {
    /// Starts the server of `data`, which is made where it does not exist. Blocks until it takes connections.
    ///
    /// `port` 0 is a free one. Fails with one sentence: no binaries, port taken, the folder in use, made by another
    /// major version, or not open to the account that the server runs under.
    pub fn start(data: &Path, port: u16, durability: Durability) -> Result<Self> {
        Self::launch(data, port, durability, None)
    }

    /// Starts a server that forgets everything, in a temporary folder that is removed when the server stops or this
    /// process dies.
    pub fn start_throwaway() -> Result<Self> {
        let name: String = random_letters(12);
        let data = roomy_folder().join(format!("warranty-{name}"));
        Self::launch(&data, 0, Durability::Throwaway, Some(&data)).inspect_err(|_| drop(fs::remove_dir_all(&data)))
    }

    fn launch(data: &Path, port: u16, durability: Durability, remove: Option<&Path>) -> Result<Self> {
        let account = account_for_server()?;
        let lock = open_folder(data, account.as_ref(), remove.is_some())?;
        let made_by = major_of_folder(&data.join("pg"));
        let binaries = find_binaries(made_by.as_deref(), data)?;
        let site = Site { data, binaries: &binaries, account: account.as_ref() };
        let password = site.password()?;
        match made_by {
            None => site.make(durability)?,
            Some(_) => site.stop_leftover()?,
        }
        let port = free_port(port)?;
        let log = data.join("postgres.log");
        let server = site.run(port, durability, remove, &log)?;
        let mut cluster =
            Self { server, url: format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}"), log, _lock: lock };
        cluster.wait_until_ready(&data.join("pg"))?;
        Ok(cluster)
    }

    /// The owner's URL, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the server ended, where it did by itself.
    pub fn ended(&mut self) -> Option<anyhow::Error> {
        let status = self.server.ended()?;
        let log = self.log.display();
        Some(anyhow!("PostgreSQL ended ({status}); the end of {log}:\n{}", tail(&self.log, 10)))
    }

    /// Stops the server in order: connections are cut, what was acknowledged is on disk.
    pub fn stop(mut self) {
        self.server.stop();
    }

    /// The server writes `ready` into the eighth line of its pid file: what `pg_ctl -w` waits for.
    fn wait_until_ready(&mut self, pg: &Path) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(error) = self.ended() {
                return Err(error);
            }
            let pid_file = fs::read_to_string(pg.join("postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("PostgreSQL was not ready within {} s: {}", READY_WITHIN.as_secs(), tail(&self.log, 3))
    }
}

/// A data folder with the binaries and the account that serve it.
struct Site<'a> {
    data: &'a Path,
    binaries: &'a Path,
    account: Option<&'a Account>,
}

impl Site<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.account {
            Some(account) => chown(path, Some(account.uid), Some(account.gid))
                .with_context(|| format!("cannot give {} to {}", path.display(), account.name)),
            None => Ok(()),
        }
    }

    /// The kept password, or a new one.
    fn password(&self) -> Result<String> {
        let path = self.data.join("password");
        if let Ok(kept) = fs::read_to_string(&path) {
            return Ok(kept.trim().to_owned());
        }
        let password = random_letters(32);
        write_secret(&path, password.as_bytes())?;
        self.own(&path)?;
        Ok(password)
    }

    /// Makes the server's folder beside its place, and moves it there when it is whole.
    fn make(&self, durability: Durability) -> Result<()> {
        let (making, pg) = (self.data.join("pg.new"), self.data.join("pg"));
        let _ = fs::remove_dir_all(&making);
        fs::create_dir(&making).with_context(|| format!("cannot make {}", making.display()))?;
        fs::set_permissions(&making, Permissions::from_mode(0o700))?;
        self.own(&making)?;
        self.require_entry(&making)?;
        let mut initdb = self.command("initdb");
        initdb
            .args(["--username", NAME, "--encoding", "UTF8", "--locale", "C"])
            .args(["--auth", "scram-sha-256", "--pwfile"])
            .arg(self.data.join("password"))
            .arg("--pgdata")
            .arg(&making);
        if durability == Durability::Throwaway {
            initdb.arg("--no-sync");
        }
        succeed(initdb, "")?;
        let mut single = self.command("postgres");
        single.args(["--single", "-D"]).arg(&making);
        if durability == Durability::Throwaway {
            single.arg("-F");
        }
        single.arg("postgres");
        succeed(single, &format!("CREATE DATABASE {NAME}\n"))?;
        fs::rename(&making, &pg).with_context(|| format!("cannot move {} into place", making.display()))
    }

    /// A parent folder closed to the account would fail deep inside initdb; here it is one sentence.
    fn require_entry(&self, folder: &Path) -> Result<()> {
        let Some(account) = self.account else {
            return Ok(());
        };
        let entered =
            Command::new("test").arg("-w").arg(folder).current_dir("/").uid(account.uid).gid(account.gid).status()?;
        ensure!(
            entered.success(),
            "PostgreSQL runs under the account {} (it refuses root), and that account cannot reach {}: open the \
             folders above it with chmod o+x, or choose another with --data",
            account.name,
            folder.display()
        );
        Ok(())
    }

    /// We hold the lock, so a server that still runs here was left behind by a killed parent.
    fn stop_leftover(&self) -> Result<()> {
        self.require_entry(&self.data.join("pg"))?;
        let mut status = self.command("pg_ctl");
        status.arg("status").arg("-D").arg(self.data.join("pg"));
        if status.output()?.status.success() {
            let mut stop = self.command("pg_ctl");
            stop.args(["stop", "--wait", "--mode", "fast", "-D"]).arg(self.data.join("pg"));
            succeed(stop, "")?;
        }
        // What a killed server left would read as "ready" while the new one still starts.
        let _ = fs::remove_file(self.data.join("pg/postmaster.pid"));
        Ok(())
    }

    fn run(&self, port: u16, durability: Durability, remove: Option<&Path>, log: &Path) -> Result<Leashed> {
        let mut server = Command::new(self.binaries.join("postgres"));
        server.env("LC_ALL", "C").arg("-D").arg(self.data.join("pg")).args(["-p", &port.to_string()]);
        let throwaway: &[&str] = match durability {
            Durability::Safe => &[],
            Durability::Throwaway => &["fsync=off", "full_page_writes=off", "synchronous_commit=off"],
        };
        let always = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"];
        for setting in always.iter().chain(throwaway) {
            server.args(["-c", setting]);
        }
        Leash {
            // Fast shutdown; immediate, where there is nothing to keep.
            signal: if durability == Durability::Safe { "INT" } else { "QUIT" },
            grace: Duration::from_secs(60),
            remove,
            log,
            account: self.account,
        }
        .run(&server)
        .context("cannot start PostgreSQL")
    }
}

/// Makes the folder where it is missing and takes its lock.
fn open_folder(data: &Path, account: Option<&Account>, owned: bool) -> Result<File> {
    fs::create_dir_all(data).with_context(|| format!("cannot make the data folder {}", data.display()))?;
    if owned {
        // Whoever runs the server also removes the folder.
        let account = account.map(|account| (account.uid, account.gid));
        chown(data, account.map(|it| it.0), account.map(|it| it.1))?;
    }
    let path = data.join("lock");
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot write in the data folder {}", data.display()))?;
    match lock.try_lock() {
        Ok(()) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder)?;
            bail!(
                "the data folder {} is in use by process {holder}: stop it first, or choose another with --data",
                data.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}

fn free_port(port: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|_| {
        anyhow!("port {port} for PostgreSQL is taken: choose another with --postgres-port, 0 for a free one")
    })?;
    Ok(listener.local_addr()?.port())
}

fn random_letters(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Writes a file that its owner alone may read.
pub(super) fn write_secret(path: &Path, secret: &[u8]) -> Result<()> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn succeed(mut command: Command, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The last lines of a log file.
pub(super) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
