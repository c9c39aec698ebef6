//! A child process that ends when we end, however we end: also by `kill -9`.
//!
//! A small `sh` stands between us and the program and holds a pipe to us. When the pipe closes, because we let go of it
//! or because we died, it signals the program, after a grace kills it, and where told removes a folder. The program
//! runs in a process group of its own, so a Ctrl-C at the terminal reaches us alone and the order of stopping is ours.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::installation::Account;

/// `$1` the signal, `$2` the grace in seconds, `$3` a folder to remove at the end or nothing; then the program.
/// Both helpers run in the background, so that `wait` sees the program's own status.
const SCRIPT: &str = r#"
signal=$1 grace=$2 folder=$3; shift 3
exec 3<&0 </dev/null
"$@" 3<&- & program=$!
{ read -r _ <&3; kill -s "$signal" "$program"; sleep "$grace"; kill -s KILL "$program"; } 2>/dev/null & watch=$!
wait "$program"; code=$?
kill "$watch" 2>/dev/null
[ -z "$folder" ] || rm -rf "$folder"
exit "$code"
"#;

/// What to run, and how to end it.
pub(super) struct Leash<'a> {
    /// The signal that ends it in order, such as `TERM`.
    pub signal: &'a str,
    /// How long it may take before it is killed.
    pub grace: Duration,
    /// A folder to remove once it ended.
    pub remove: Option<&'a Path>,
    /// Where its output goes.
    pub log: &'a Path,
    /// The account to run under; ours where `None`.
    pub account: Option<&'a Account>,
}

/// A running program on its leash. Dropped, it is signalled and waited for.
#[derive(Debug)]
pub(super) struct Leashed {
    shell: Child,
}

impl Leash<'_> {
    /// Starts the program. Fails with the operating system's error.
    pub(super) fn run(&self, program: &Command) -> io::Result<Leashed> {
        let log = File::options().create(true).append(true).open(self.log)?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SCRIPT, "sh", self.signal])
            .arg(self.grace.as_secs().to_string())
            .arg(self.remove.unwrap_or(Path::new("")))
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        if let Some(account) = self.account {
            shell.uid(account.uid).gid(account.gid);
        }
        Ok(Leashed { shell: shell.spawn()? })
    }
}

impl Leashed {
    /// How the program ended, where it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Signals the program; does not wait.
    pub(super) fn let_go(&mut self) {
        drop(self.shell.stdin.take());
    }

    /// Signals the program and waits for its end. A second call does nothing.
    pub(super) fn stop(&mut self) {
        self.let_go();
        // Nothing to do about a child that cannot be waited for: it was waited for before.
        let _ = self.shell.wait();
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        self.stop();
    }
}
