//! A private PostgreSQL from the binaries that the machine has: for `warranty up`, and for the tests.
//!
//! `DATA/pg` is the server's own folder, `DATA/password` its password, `DATA/lock` is held while it is in use. The
//! server listens on 127.0.0.1 alone. PostgreSQL refuses root, so for root it runs under an account without rights.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{OpenOptionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, distr::Alphanumeric};

use super::{
    installation::{account_for_server, find_binaries, roomy_folder},
    leash::Leashed,
};

/// The database's owner, and the database's name.
const NAME: &str = "warranty";
/// A cold start after a crash replays the log: longer than any clean one.
const READY_WITHIN: Duration = Duration::from_secs(60);
const PORT_FREE_WITHIN: Duration = Duration::from_secs(2);

/// A running private server. It stops when dropped, and when this process dies for whatever reason.
#[derive(Debug)]
pub struct Cluster {
    server: Leashed,
    url: String,
    _lock: File,
}

impl Cluster {
    /// Starts the server of `data`, which is made where it does not exist. Blocks until it takes connections.
    ///
    /// Fails with one sentence: no binaries, the folder in use, made by another major version, or closed to the account
    /// that the server runs under.
    pub fn start(data: &Path, port: u16) -> Result<Self> {
        Site::open(data, false)?.start(port)
    }

    /// Starts a server on a free port that forgets everything, in a folder that is removed when the server stops or
    /// this process dies.
    pub fn start_throwaway() -> Result<Self> {
        let data = roomy_folder().join(format!("warranty-{}", random_letters(12)));
        let started = Site::open(&data, true).and_then(|site| site.start(0));
        started.inspect_err(|_| drop(fs::remove_dir_all(&data)))
    }

    /// Starts a throwaway replica of it, which streams from it.
    pub fn start_replica(&self) -> Result<Self> {
        let data = roomy_folder().join(format!("warranty-{}", random_letters(12)));
        let started = Site::open(&data, true).and_then(|site| {
            // Its roles are the primary's, password and all.
            let password = self.url.split([':', '@']).nth(2).context("the primary's password")?;
            write_secret(&data.join("password"), password.as_bytes())?;
            let mut copy = site.command("pg_basebackup");
            copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &self.url, "--pgdata"]);
            copy.arg(&site.pg);
            succeed(copy, "")?;
            site.start(0)
        });
        started.inspect_err(|_| drop(fs::remove_dir_all(&data)))
    }

    /// The owner's URL, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the server ended, where it did by itself.
    pub fn ended(&mut self) -> Option<anyhow::Error> {
        self.server.ended()
    }
}

/// A locked data folder, and what serves it.
struct Site<'a> {
    data: &'a Path,
    pg: PathBuf,
    binaries: PathBuf,
    account: Option<(u32, u32)>,
    throwaway: bool,
    lock: File,
}

impl<'a> Site<'a> {
    fn open(data: &'a Path, throwaway: bool) -> Result<Self> {
        fs::create_dir_all(data).with_context(|| format!("cannot make the data folder {}", data.display()))?;
        let lock = lock(data)?;
        let account = account_for_server()?;
        let site = Self { data, pg: data.join("pg"), binaries: find_binaries(data)?, account, throwaway, lock };
        if throwaway {
            // Whoever runs the server also removes the folder.
            site.own(data)?;
        }
        Ok(site)
    }

    fn start(self, port: u16) -> Result<Cluster> {
        let password = self.password()?;
        if self.pg.exists() {
            // We hold the lock, so a server that still runs here was left behind by a killed parent. Mostly there is none.
            let mut leftover = self.command("pg_ctl");
            leftover.args(["stop", "--mode", "fast", "-D"]).arg(&self.pg).output()?;
            // What a killed server left would read as "ready" while the new one still starts.
            let _ = fs::remove_file(self.pg.join("postmaster.pid"));
        } else {
            self.make()?;
        }
        let port = take_port(port)?.local_addr()?.port();
        let mut server = self.run(port)?;
        self.wait_until_ready(&mut server)?;
        let url = format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}");
        Ok(Cluster { server, url, _lock: self.lock })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        let (user, group) = self.account.unzip();
        chown(path, user, group).with_context(|| format!("cannot give {} to PostgreSQL's account", path.display()))
    }

    /// The kept password, or a new one.
    fn password(&self) -> Result<String> {
        let path = self.data.join("password");
        if let Ok(kept) = fs::read_to_string(&path) {
            return Ok(kept);
        }
        let password = random_letters(32);
        write_secret(&path, password.as_bytes())?;
        self.own(&path)?;
        Ok(password)
    }

    /// Makes the server's folder beside its place, and moves it there when it is whole.
    fn make(&self) -> Result<()> {
        let making = self.data.join("pg.new");
        let _ = fs::remove_dir_all(&making);
        fs::create_dir(&making).with_context(|| format!("cannot make {}", making.display()))?;
        self.own(&making)?;
        let mut initdb = self.command("initdb");
        initdb.args(["--username", NAME, "--encoding", "UTF8", "--locale", "C", "--auth", "scram-sha-256"]);
        initdb.arg("--pwfile").arg(self.data.join("password")).arg("--pgdata").arg(&making);
        if self.throwaway {
            initdb.arg("--no-sync");
        }
        succeed(initdb, "").context(
            "PostgreSQL refuses root, so for root it runs under an account without rights: the folders above the data \
             must be open to it (chmod o+x)",
        )?;
        let mut single = self.command("postgres");
        single.args(["--single", "-D"]).arg(&making).arg("postgres");
        succeed(single, &format!("CREATE DATABASE {NAME}\n"))?;
        fs::rename(&making, &self.pg).with_context(|| format!("cannot move {} into place", making.display()))
    }

    fn run(&self, port: u16) -> Result<Leashed> {
        let mut server = Command::new(self.binaries.join("postgres"));
        server.env("LC_ALL", "C").arg("-D").arg(&self.pg).args(["-p", &port.to_string()]);
        let mut settings = vec!["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"];
        settings.extend(match self.throwaway {
            // Who connected and says nothing may outlive an immediate stop, where it was just forked: not for long.
            true => {
                ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "authentication_timeout=20s"].as_slice()
            }
            // Of a million units the pages that questions read fit; PostgreSQL's own 128 MB hold a third of them.
            false => &["shared_buffers=512MB"],
        });
        for setting in settings {
            server.args(["-c", setting]);
        }
        // Fast shutdown; immediate, where there is nothing to keep.
        let (signal, remove) = if self.throwaway { ("QUIT", Some(self.data)) } else { ("INT", None) };
        Leashed::start("PostgreSQL", &server, &self.data.join("postgres.log"), signal, self.account, remove)
    }

    /// The server writes `ready` into the eighth line of its pid file: what `pg_ctl -w` waits for.
    fn wait_until_ready(&self, server: &mut Leashed) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(error) = server.ended() {
                return Err(error);
            }
            let pid_file = fs::read_to_string(self.pg.join("postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("PostgreSQL was not ready within {} s; {}", READY_WITHIN.as_secs(), server.last_words())
    }
}

/// Takes the folder's lock, which the operating system gives back however this process ends.
fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = File::options().append(true).create(true).open(&path);
    let file = file.with_context(|| format!("cannot write in the data folder {}", data.display()))?;
    match file.try_lock() {
        Ok(()) => fs::write(&path, std::process::id().to_string())?,
        Err(TryLockError::WouldBlock) => bail!(
            "the data folder {} is in use by process {}: stop it first, or choose another with --data",
            data.display(),
            fs::read_to_string(&path)?
        ),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the data folder"),
    }
    Ok(file)
}

/// Listens on a port of this machine; 0 is a free one. A process that a killed `up` left behind still drains for a moment.
pub(super) fn take_port(port: u16) -> Result<TcpListener> {
    let started = Instant::now();
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(listener),
            Err(_) if started.elapsed() < PORT_FREE_WITHIN => sleep(Duration::from_millis(50)),
            Err(_) => bail!(
                "port {port} is not free: choose the first of eight free ports in a row with `warranty up --port`"
            ),
        }
    }
}

fn random_letters(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Writes a file that its owner alone may read.
pub(super) fn write_secret(path: &Path, secret: &[u8]) -> Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(secret)).with_context(|| format!("cannot write {}", path.display()))
}

fn succeed(mut command: Command, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
