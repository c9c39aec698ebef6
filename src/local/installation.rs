//! What this machine has of PostgreSQL: its binaries, an account to run them under, room for a throwaway server.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};

/// A temporary file system must have at least this much room, in KiB: each test's database is a copy.
const ROOM_FOR_TESTS: u64 = 4 << 20;

/// Every server of this machine, the newest first: its major version and its folder. The shell knows PATH; Debian keeps
/// the servers elsewhere, a folder for each major version.
const SERVERS: &str = r#"
for bin in $(ls -d /usr/lib/postgresql/*/bin | sort -rV) "$(dirname "$(readlink -f "$(command -v postgres)")")"; do
    [ -x "$bin/initdb" ] && echo "$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/') $bin"
done; true"#;

/// Whether this process is root's.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|myself| myself.uid() == 0)
}

/// Root may not run PostgreSQL: the user and group that will, or `None` where ours can.
pub(super) fn account_for_server() -> Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let ids = |name: &str| {
        let line = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = line.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let account = ids("postgres").or_else(|| ids("nobody"));
    account.map(Some).context("PostgreSQL refuses root, and there is neither an account postgres nor nobody")
}

/// The folder of PostgreSQL's binaries: of the major version that made the data, else the newest.
pub(super) fn find_binaries(data: &Path) -> Result<PathBuf> {
    let said = Command::new("sh").args(["-c", SERVERS]).output().context("cannot run sh")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let servers: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    let Some((newest, newest_folder)) = servers.first() else {
        bail!("PostgreSQL is not installed: install the Debian package postgresql, or set DATABASE_URL");
    };
    let Ok(made_by) = fs::read_to_string(data.join("pg/PG_VERSION")) else {
        return Ok(PathBuf::from(newest_folder));
    };
    let made_by = made_by.trim();
    servers.iter().find(|(major, _)| *major == made_by).map(|(_, folder)| PathBuf::from(folder)).ok_or_else(|| {
        anyhow!(
            "the data in {} was made by PostgreSQL {made_by}, and only PostgreSQL {newest} is installed: install the \
             Debian package postgresql-{made_by}, or choose another folder with --data",
            data.display()
        )
    })
}

/// Memory where there is plenty of it, else the disk.
pub(super) fn roomy_folder() -> &'static Path {
    let room = Command::new("df").args(["--output=avail", "-k", "/dev/shm"]).output().ok().and_then(|said| {
        let said = String::from_utf8(said.stdout).ok()?;
        said.lines().nth(1)?.trim().parse::<u64>().ok()
    });
    Path::new(if room >= Some(ROOM_FOR_TESTS) { "/dev/shm" } else { "/tmp" })
}
