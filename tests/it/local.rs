//! `warranty up` as a person uses it: a process, its folder, its ports, its end.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Error, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use uuid::Uuid;
use warranty::local::postgres::Cluster;

/// The issuer, coverage, claim, logistics, their probes, PostgreSQL, and a gateway's four: this many ports in a row.
const PORTS: u16 = 12;
const CLAIM: u16 = 2;
const POSTGRES: u16 = 7;

/// A place for one `up`: a data folder of its own, removed at the end, and ports that nobody has.
struct Place {
    data: PathBuf,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let free = |first: u16| (first..first + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let row = || 20_000 + Uuid::new_v4().as_fields().1 % 1_000 * PORTS;
        Self {
            data: Path::new("/tmp").join(format!("warranty-up-{}", Uuid::new_v4().simple())),
            port: std::iter::repeat_with(row).find(|first| free(*first)).unwrap(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warranty"));
        command.arg("up").arg("--data").arg(&self.data).args(["--port", &self.port.to_string()]);
        command.env_remove("DATABASE_URL");
        command
    }

    /// Starts `up` and waits for the last thing that it prints.
    fn up(&self) -> Up {
        self.up_with(&[], "warranty walk")
    }

    fn up_with(&self, flags: &[&str], last: &str) -> Up {
        let began = Instant::now();
        let mut process = self.command().args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains(last) {
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

/// Connections to a place's processes, each of which closes its own when it ends.
fn connect(ports: impl Iterator<Item = u16>) -> Vec<TcpStream> {
    ports.map(|port| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect()
}

/// Waits until the other side of each connection has gone.
fn gone(connections: Vec<TcpStream>) {
    for mut connection in connections {
        connection.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        let timed_out = |error: &Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let ended = connection.read_to_end(&mut Vec::new());
        assert!(!ended.as_ref().is_err_and(timed_out), "{ended:?}");
    }
}

fn get(port: u16, path: &str) -> String {
    ask(port, &format!("GET {path} HTTP/1.1"))
}

/// Sends the head of a request, and gives the whole reply.
fn ask(port: u16, head: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(connection, "{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    reply
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Does what the welcome tells a newcomer to try: each command that it prints, with the exports before them.
fn tried(place: &Place, welcome: &str) -> Vec<String> {
    let (_, to_try) = welcome.split_once("To try it").unwrap();
    let lines: Vec<_> = to_try.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let (exports, commands): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("export"));
    let run = |command: &&str| {
        let script = format!("{}; cd {}; {command}", exports.join("; "), env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("sh").args(["-c", &script]).env("WARRANTY_DATA", &place.data).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    commands.iter().map(run).collect()
}

#[test]
fn it_starts_is_alone_in_its_folder_stops_and_starts_again_within_seconds() {
    let place = Place::new();
    let mut first = place.up();
    for kind in ["DEALER", "CUSTOMER", "SUPPORT", "DEPOT", "REGISTRY", "BILLING"] {
        assert!(first.welcome.contains(&format!("\nexport {kind}_TOKEN=eyJ")), "{}", first.welcome);
    }
    assert!(get(place.port, "/jwks.json").contains("Ed25519"));
    assert!(get(place.port, "/token?as=depot").contains("access_token"));
    assert!(get(place.port, "/token").starts_with("HTTP/1.1 400"));

    // The page that `make page` serves may call, and no other.
    let called_from = |origin: &str| ask(place.port + 1, &format!("GET / HTTP/1.1\r\nOrigin: {origin}"));
    assert!(
        called_from("http://127.0.0.1:5173").contains("\r\naccess-control-allow-origin: http://127.0.0.1:5173\r\n")
    );
    assert!(called_from("http://127.0.0.1:5174").starts_with("HTTP/1.1 403"));

    let said = tried(&place, &first.welcome);
    assert!(said[0].contains("REMEDY_DIRECT_REPLACEMENT"), "{said:?}");
    assert!(said[1].contains("CLAIM_STATE_FILED"), "{said:?}");
    assert!(said[2].contains("CLAIM_STATE_FILED"), "{said:?}");
    assert!(said[3].contains("all as the clauses say"), "{}", said[3]);

    let second = place.refused(None);
    assert!(second.contains("is in use by process"), "{second}");

    let (said, well) = first.end("TERM");
    assert!(well && said.contains("the data stays"), "{said}");
    assert!(!is_listening(place.port + 1));

    let mut again = place.up();
    // The promise is 5 s on a quiet machine; tests run beside others.
    assert!(again.after < Duration::from_secs(15), "{:?}", again.after);
    assert!(again.end("INT").1);
}

#[test]
fn killed_it_leaves_nothing_behind_and_starts_again() {
    let place = Place::new();
    let mut up = place.up();
    let connections = connect(place.port..=place.port + POSTGRES);
    up.end("KILL");
    gone(connections);
    assert!(place.up().end("TERM").1);
}

#[test]
fn a_service_that_dies_is_named_and_everything_ends() {
    let place = Place::new();
    let mut up = place.up();
    let postgres = connect([place.port + POSTGRES].into_iter());
    send("KILL", &serving(place.port + CLAIM));
    let mut said = String::new();
    up.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("warranty claim ended"), "{said}");
    assert!(said.contains("claim.log"), "{said}");
    assert!(!up.process.wait().unwrap().success());
    gone(postgres);
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
    let port = place.port + CLAIM;
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = place.refused(Some("postgres://localhost/never_reached"));
    assert!(said.contains(&format!("port {port} is not free")), "{said}");
    assert!(said.contains("--port"), "{said}");
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

/// Runs itself again as the process that is killed.
#[test]
fn a_throwaway_cluster_dies_with_a_killed_process() {
    const KILLED: &str = "WARRANTY_TEST_KILLED";
    if std::env::var_os(KILLED).is_some() {
        let cluster = Cluster::start_throwaway().unwrap();
        println!("\nurl {}", cluster.url());
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["local::a_throwaway_cluster_dies_with_a_killed_process", "--exact", "--nocapture"])
        .env(KILLED, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("url ")).unwrap();
    let port = line.rsplit_once("127.0.0.1:").unwrap().1.split('/').next().unwrap().parse().unwrap();
    let connection = connect([port].into_iter());
    process.kill().unwrap();
    process.wait().unwrap();
    gone(connection);
}

#[test]
fn a_gateway_before_it_serves_the_page_and_its_file_is_sound() {
    let envoy = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin/envoy");
    assert!(Path::new(envoy).exists(), "`make lint` fetches what is missing: {envoy}");
    let place = Place::new();
    let page = place.data.join("page");
    fs::create_dir_all(&page).unwrap();
    fs::write(page.join("index.html"), "<!doctype html>").unwrap();
    let up = place.up_with(&["--gateway", envoy, "--page", page.to_str().unwrap(), "--host", "127.0.0.2"], "/#token=");

    let certificate = place.data.join("gateway/tls/127.0.0.2/tls.crt");
    let asked = |url: &str| {
        let answer = Command::new("curl").args(["--silent", "--cacert"]).arg(&certificate).arg(url).output().unwrap();
        String::from_utf8(answer.stdout).unwrap()
    };
    let url = up.welcome.lines().find_map(|line| line.trim().strip_prefix("The gateway is at ")).unwrap();
    let url = url.split(' ').next().unwrap();
    assert_eq!(asked(&format!("{url}/")), "<!doctype html>");
    assert_eq!(asked(&format!("{url}/v1/claims")).matches("TOKEN_REFUSED").count(), 1);
    let signed_in = up.welcome.lines().find(|line| line.starts_with(&format!("  {url}/#token="))).unwrap();
    assert_eq!(signed_in.split('.').count(), 3 + 3, "an address and a token");

    let file = place.data.join("gateway/envoy.yaml");
    assert!(!fs::read_to_string(&file).unwrap().contains("{{"), "a placeholder is left");
    let judged =
        Command::new(envoy).args(["--mode", "validate", "--use-dynamic-base-id", "-c"]).arg(&file).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}
