//! A child process that ends when we end, however we end: also by `kill -9`.
//!
//! A small `sh` stands between us and the program and holds a pipe to us. When the pipe closes, because we let go of it
//! or because we died, it signals the program, after a grace kills it, and where told removes a folder. The program
//! runs in a process group of its own, so a Ctrl-C at the terminal reaches us alone and the order of stopping is ours.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, anyhow};

/// `$1` the signal, `$2` a folder to remove at the end or nothing; then the program. A minute is longer than a service
/// drains for. Both helpers run in the background, so that `wait` sees the program's own status.
const SCRIPT: &str = r#"
signal=$1 folder=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- & program=$!
{ read -r _ <&3; kill -s "$signal" "$program"; sleep 60; kill -s KILL "$program"; } 2>/dev/null & watch=$!
wait "$program"; code=$?
kill "$watch" 2>/dev/null
[ -z "$folder" ] || rm -rf "$folder"
exit "$code"
"#;

/// A running program on its leash. Dropped, it is signalled and waited for.
#[derive(Debug)]
pub(super) struct Leashed {
    name: String,
    log: PathBuf,
    shell: Child,
}

impl Leashed {
    /// Starts the program, whose output goes to `log`. `signal`, such as `TERM`, ends it in order; then `remove` goes.
    pub(super) fn start(
        name: &str,
        program: &Command,
        log: &Path,
        signal: &str,
        account: Option<(u32, u32)>,
        remove: Option<&Path>,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SCRIPT, "sh", signal])
            .arg(remove.unwrap_or(Path::new("")))
            .arg(program.get_program())
            .args(program.get_args())
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        if let Some((user, group)) = account {
            shell.uid(user).gid(group);
        }
        let shell = shell.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), shell })
    }

    /// What to say where the program ended by itself: how, and the end of its log.
    pub(super) fn ended(&mut self) -> Option<anyhow::Error> {
        let status = self.shell.try_wait().ok().flatten()?;
        Some(anyhow!("{} ended ({status}); {}", self.name, self.last_words()))
    }

    /// Its log's place and last lines.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("the end of {}:\n{last}", self.log.display())
    }

    /// Signals the program; does not wait.
    pub(super) fn let_go(&mut self) {
        drop(self.shell.stdin.take());
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        self.let_go();
        // Nothing to do about a child that cannot be waited for: it was waited for before.
        let _ = self.shell.wait();
    }
}
