//! The rules of the house, checked by reading the source: who may know whom, and how large a room may grow.

use std::{fs, path::PathBuf};

/// Every source file under `src/` with its text; comments and test modules are not code.
fn sources() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut found) = (vec![root.join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 40, "the source was found");
    found
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Files whose path starts with one of `rooms` hold none of `words`.
fn absent(rooms: &[&str], words: &[&str]) {
    for (name, text) in sources() {
        if rooms.iter().any(|room| name.starts_with(room)) {
            let code = code(&text);
            for word in words {
                assert!(!code.contains(word), "{name} must not know {word:?}");
            }
        }
    }
}

/// Files outside `rooms` hold none of `words`.
fn only_in(rooms: &[&str], words: &[&str]) {
    for (name, text) in sources() {
        if !rooms.iter().any(|room| name.starts_with(room)) {
            let code = code(&text);
            for word in words {
                assert!(!code.contains(word), "{name} must not have {word:?}: it belongs in {rooms:?}");
            }
        }
    }
}

#[test]
fn the_domain_is_pure() {
    absent(
        &["src/domain/"],
        &["sqlx", "tonic", "prost", "tokio", "async ", "serde_json", "crate::store", "crate::service", "crate::clock"],
    );
}

#[test]
fn the_store_knows_no_rpc() {
    absent(&["src/store"], &["tonic", "prost", "contract::", "crate::service", "crate::auth", "crate::server"]);
}

#[test]
fn services_do_not_know_the_chassis_and_sql_stands_in_its_rooms() {
    absent(&["src/service"], &["crate::server", "crate::local", "crate::client"]);
    only_in(&["src/store/", "src/local/"], &["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "sqlx::query"]);
}

#[test]
fn time_and_environment_have_one_door_each() {
    only_in(&["src/clock.rs"], &["Utc::now", "Local::now", "SystemTime::now"]);
    only_in(&["src/config.rs"], &["std::env", "env::var"]);
}

#[test]
fn nothing_panics_on_purpose() {
    only_in(&[], &[".unwrap()", "todo!(", "unimplemented!(", "dbg!("]);
}

#[test]
fn every_room_has_a_name_and_none_is_too_large() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 400, "{name} has {lines} lines: is it two rooms?");
        for nameless in ["common", "utils", "helpers", "models", "manager"] {
            assert!(!name.contains(nameless), "{name}: what has no name has no home");
        }
    }
}
