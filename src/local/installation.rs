//! What this machine has of PostgreSQL: its binaries, an account to run them under, room for a throwaway server.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};

/// A temporary file system must have at least this much room, in KiB: each test's database is a copy.
const ROOM_FOR_TESTS: u64 = 4 << 20;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Root may not run PostgreSQL: the account that will, or `None` where ours can.
pub(super) fn account_for_server() -> Result<Option<Account>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| account_in(&passwd, name))
        .map(Some)
        .context("PostgreSQL refuses root, and there is neither an account postgres nor nobody")
}

fn account_in(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some(Account { name: name.to_owned(), uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

/// `None` where no server's folder was made yet.
pub(super) fn major_of_folder(pg: &Path) -> Option<String> {
    fs::read_to_string(pg.join("PG_VERSION")).ok().map(|text| text.trim().to_owned())
}

/// The folder of PostgreSQL's binaries: of the major version that made the data, else the newest.
pub(super) fn find_binaries(made_by: Option<&str>, data: &Path) -> Result<PathBuf> {
    // The shell knows PATH; Debian keeps the servers elsewhere, a folder for each major version.
    let look = "p=$(command -v postgres) && dirname \"$(readlink -f \"$p\")\"; \
                ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV; pg_config --bindir 2>/dev/null";
    let found = Command::new("sh").args(["-c", look]).output().context("cannot run sh")?;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let servers: Vec<(PathBuf, String)> = found
        .lines()
        .map(PathBuf::from)
        .filter(|folder| folder.join("initdb").exists())
        .filter_map(|folder| major_of_binary(&folder).map(|major| (folder, major)))
        .collect();
    let newest = servers.first().ok_or_else(|| {
        anyhow!("PostgreSQL is not installed: install the Debian package postgresql, or set DATABASE_URL")
    })?;
    let Some(made_by) = made_by else {
        return Ok(newest.0.clone());
    };
    servers.iter().find(|(_, major)| major == made_by).map(|(folder, _)| folder.clone()).ok_or_else(|| {
        anyhow!(
            "the data in {} was made by PostgreSQL {made_by}, and only PostgreSQL {} is installed: install the \
             Debian package postgresql-{made_by}, or choose another folder with --data",
            data.display(),
            newest.1
        )
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)` is major version 15.
fn major_of_binary(folder: &Path) -> Option<String> {
    let said = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let version = said.split_whitespace().nth(2)?;
    Some(version.split('.').next()?.to_owned())
}

/// Memory where there is plenty of it, else the disk.
pub(super) fn roomy_folder() -> &'static Path {
    let memory = Path::new("/dev/shm");
    let room = Command::new("df").args(["-Pk", "/dev/shm"]).output().ok().and_then(|said| {
        let said = String::from_utf8(said.stdout).ok()?;
        said.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    if room >= Some(ROOM_FOR_TESTS) { memory } else { Path::new("/tmp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        let nobody = account_in(passwd, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (65534, 65534));
        assert_eq!(account_in(passwd, "postgres"), None);
    }
}
