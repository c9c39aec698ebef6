//! `warranty up` as a person uses it: a process, its folder, its ports, its end.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use uuid::Uuid;
use warranty::local::postgres::Cluster;

const PORTS: [&str; 7] = [
    "--issuer-port",
    "--coverage-port",
    "--claim-port",
    "--logistics-port",
    "--coverage-admin-port",
    "--claim-admin-port",
    "--logistics-admin-port",
];

/// A place for one `up`: a data folder of its own, removed at the end, and ports that nobody has.
struct Place {
    data: PathBuf,
    ports: Vec<(&'static str, u16)>,
}

impl Place {
    fn new() -> Self {
        let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        Self {
            data: Path::new("/tmp").join(format!("warranty-up-{}", Uuid::new_v4().simple())),
            ports: PORTS.into_iter().zip(listeners.iter().map(port)).collect(),
        }
    }

    fn port(&self, flag: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == flag).unwrap().1
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
        command.arg("up").arg("--data").arg(&self.data).env_remove("DATABASE_URL");
        for (flag, port) in &self.ports {
            command.args([*flag, &port.to_string()]);
        }
        command
    }

    /// Starts `up` and waits for the last of the calls that it prints.
    fn up(&self) -> Up {
        let began = Instant::now();
        let mut process = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("ClaimService/ListClaims") {
            let read = output.read_line(&mut welcome).unwrap();
            assert!(read > 0, "it ended at once, having said: {welcome}");
        }
        Up { process, output, welcome, after: began.elapsed() }
    }

    /// Runs an `up` that must fail, and gives what it said.
    fn refused(&self, database_url: Option<&str>) -> String {
        let mut command = self.command();
        command.envs(database_url.map(|url| ("DATABASE_URL", url)));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn postgres(&self) -> String {
        let pid_file = fs::read_to_string(self.data.join("pg/postmaster.pid")).unwrap();
        pid_file.lines().next().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// A running `up`, told to stop at the end.
struct Up {
    process: Child,
    output: BufReader<ChildStdout>,
    welcome: String,
    after: Duration,
}

impl Up {
    /// Sends a signal and waits; gives what it still said and whether it ended well.
    fn end(&mut self, signal: &str) -> (String, bool) {
        send(signal, &self.process.id().to_string());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (rest, self.process.wait().unwrap().success())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.end("TERM");
        }
    }
}

fn send(signal: &str, process: &str) {
    assert!(Command::new("kill").args(["-s", signal, process]).status().unwrap().success());
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(45), "still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn get(port: u16, path: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    reply
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn is_alive(process: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn it_starts_is_alone_in_its_folder_stops_and_starts_again_within_seconds() {
    let place = Place::new();
    let mut first = place.up();
    for kind in ["dealer", "customer", "support", "depot", "registry", "billing"] {
        assert!(first.welcome.contains(&format!("\n  {kind:<9} eyJ")), "{}", first.welcome);
    }
    assert!(get(place.port("--issuer-port"), "/jwks.json").contains("Ed25519"));
    assert!(get(place.port("--issuer-port"), "/token?as=depot").contains("access_token"));
    assert!(get(place.port("--issuer-port"), "/token").starts_with("HTTP/1.1 400"));

    let second = place.refused(None);
    assert!(second.contains("is in use by process"), "{second}");

    let (said, well) = first.end("TERM");
    assert!(well && said.contains("the data stays"), "{said}");
    assert!(!is_listening(place.port("--coverage-port")));

    let mut again = place.up();
    // The promise is 5 s on a quiet machine; tests run beside others.
    assert!(again.after < Duration::from_secs(15), "{:?}", again.after);
    assert!(again.end("INT").1);
}

#[test]
fn killed_it_leaves_nothing_behind_and_starts_again() {
    let place = Place::new();
    let mut up = place.up();
    let postgres = place.postgres();
    assert!(is_alive(&postgres));
    up.end("KILL");
    until("PostgreSQL ended", || !is_alive(&postgres));
    for (flag, port) in &place.ports {
        until(flag, || !is_listening(*port));
    }
    assert!(place.up().end("TERM").1);
}

#[test]
fn a_service_that_dies_is_named_and_everything_ends() {
    let place = Place::new();
    let mut up = place.up();
    let postgres = place.postgres();
    send("KILL", &serving(place.port("--claim-port")));
    let mut said = String::new();
    up.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("warranty claim ended"), "{said}");
    assert!(said.contains("claim.log"), "{said}");
    assert!(!up.process.wait().unwrap().success());
    assert!(!is_alive(&postgres));
}

/// The service that was told to listen on `port`: its own process, not the shell that holds its leash.
fn serving(port: u16) -> String {
    let listen = format!("\0--listen\x00127.0.0.1:{port}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_it = |process: &PathBuf| {
        let words = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        words.contains(&listen) && words.split('\0').next().is_some_and(|program| program.ends_with("warranty"))
    };
    let process = processes.into_iter().find(is_it).unwrap();
    process.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_taken_port_is_named_with_its_flag() {
    let place = Place::new();
    let port = place.port("--claim-port");
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = place.refused(Some("postgres://localhost/never_reached"));
    assert!(said.contains(&format!("port {port} is not free")), "{said}");
    assert!(said.contains("--claim-port"), "{said}");
}

#[test]
fn data_of_another_major_version_is_told() {
    let place = Place::new();
    fs::create_dir_all(place.data.join("pg")).unwrap();
    fs::write(place.data.join("pg/PG_VERSION"), "9\n").unwrap();
    let said = place.refused(None);
    assert!(said.contains("was made by PostgreSQL 9"), "{said}");
    assert!(said.contains("install the Debian package postgresql-9"), "{said}");
}

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "the next test runs it"]
fn a_process_with_a_throwaway_cluster() {
    let cluster = Cluster::start_throwaway().unwrap();
    println!("\nurl {}", cluster.url());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_throwaway_cluster_dies_with_a_killed_process() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["local::a_process_with_a_throwaway_cluster", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("url ")).unwrap();
    let port = line.rsplit_once("127.0.0.1:").unwrap().1.split('/').next().unwrap().parse().unwrap();
    assert!(is_listening(port));
    process.kill().unwrap();
    process.wait().unwrap();
    until("the server is gone", || !is_listening(port));
}
