//! How far an import is: a bar on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::Counts;

/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);

pub(super) struct Display {
    /// On a terminal.
    bar: Option<ProgressBar>,
    start: Instant,
    said: Instant,
}

impl Display {
    /// `size` is the file's, in bytes.
    pub(super) fn new(size: Option<u64>) -> Self {
        let style = |template| ProgressStyle::with_template(template).expect("the template is well-formed");
        let bar = stderr().is_terminal().then(|| match size {
            Some(size) => ProgressBar::new(size).with_style(style("{bar:30} {percent:>3} %  {msg}  {eta} left")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        });
        let start = Instant::now();
        Self { bar, start, said: start }
    }

    /// Shows what is done; `byte` is how far into the file that is.
    pub(super) fn show(&mut self, counts: &Counts, byte: Option<u64>) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.line(counts));
                bar.set_position(byte.unwrap_or(bar.position()));
            }
            None if self.said.elapsed() >= PLAIN => {
                self.said = Instant::now();
                eprintln!("{}", self.line(counts));
            }
            None => {}
        }
    }

    /// Says something beside it.
    pub(super) fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.println(what),
            None => eprintln!("{what}"),
        }
    }

    /// The last word, on standard output.
    pub(super) fn end(&self, counts: &Counts, rejected: &Path) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        println!("{}", self.line(counts));
        if counts.rejected > 0 {
            println!("the rejected rows, each with the rule that it breaks: {}", rejected.display());
        }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rate for people")]
    fn line(&self, counts: &Counts) -> String {
        let rate = counts.rows as f64 / self.start.elapsed().as_secs_f64().max(0.001);
        format!(
            "{} rows: {} new, {} there before, {} rejected; {} rows/s",
            counts.rows, counts.created, counts.unchanged, counts.rejected, rate as i64
        )
    }
}
