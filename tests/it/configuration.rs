//! Flags: what is accepted, and the sentence for what is not.

use std::time::Duration;

use clap::Parser;
use warranty::config::{Cli, Command, ServeConfig};

const LEAST: [&str; 8] = [
    "warranty",
    "claim",
    "--database-url",
    "postgres://warranty:hunter2@db/warranty",
    "--jwks",
    "https://issuer.example.com/jwks.json",
    "--issuer",
    "https://issuer.example.com",
];

fn parse(more: &[&str]) -> Result<ServeConfig, String> {
    match Cli::try_parse_from(LEAST.iter().chain(more)).map_err(|error| error.to_string())?.command {
        Command::Claim(config) => config.check().map(|()| config),
        _ => Err("parsed as another command".to_owned()),
    }
}

#[test]
fn a_wrong_value_is_one_sentence() {
    let deadlines = "the default deadline must be more than 0 and at most the maximum, that at most an hour";
    for (more, sentence) in [
        (["--trace-ratio", "2"], "the trace ratio must be between 0 and 1"),
        (["--default-deadline", "120s"], deadlines),
        (["--default-deadline", "0s"], deadlines),
        (["--max-deadline", "1e15s"], deadlines),
        (["--max-message-bytes", "1"], "the largest message must be between 1 KiB and 64 MiB"),
        (["--audience", ""], "the issuer and the audience must not be empty"),
        (["--concurrency", "0"], "0 is not in 1..=1000000"),
        (["--drain", "1m"], "write seconds: 10s, 0.5s"),
    ] {
        let told = parse(&more).err().unwrap();
        assert!(told.contains(sentence), "{more:?}: {told}");
    }
}

#[test]
fn an_origin_is_what_a_browser_sends() {
    let origin = |text: &str| parse(&["--allowed-origins", text]).map(|config| config.allowed_origins[0].clone());
    for good in ["https://app.example.com", "http://localhost:3000"] {
        assert_eq!(origin(good).unwrap(), good);
    }
    for bad in
        ["*", "app.example.com", "https://app.example.com/", "https://*.example.com", "ftp://a.b", "null", "https://"]
    {
        assert!(origin(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_duration_has_a_unit() {
    let drain = |text: &str| parse(&["--drain", text]).map(|config| config.limits.drain);
    assert_eq!(drain("0.25s"), Ok(Duration::from_millis(250)));
    assert_eq!(drain("120s"), Ok(Duration::from_secs(120)));
    for bad in ["", "10", "s", "1h", "NaNs", "infs", "10ms"] {
        assert!(drain(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_command_s_arguments_are_named_once() {
    <warranty::config::Cli as clap::CommandFactory>::command().debug_assert();
}
