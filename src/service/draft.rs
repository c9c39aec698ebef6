//! A policy version as people write it: a JSON document, read strictly.

use crate::{auth::strict_json, domain::policy::Policy};

/// The longest document, in bytes.
const LONGEST: usize = 256 * 1024;

/// The version that a document says; else each fault, the path in the document (empty for the whole) and the rule it breaks.
pub fn read(document: &str) -> Result<Policy, Vec<(String, String)>> {
    let whole = |rule: String| vec![(String::new(), rule)];
    if document.len() > LONGEST {
        return Err(whole(format!("has at most {LONGEST} bytes")));
    }
    let policy: Policy = serde_json::from_str(document).map_err(|error| whole(told(&error)))?;
    if strict_json::object(document.as_bytes()).is_none() {
        return Err(whole("has a name twice in one object".to_owned()));
    }
    let faults = policy.faults();
    if faults.is_empty() { Ok(policy) } else { Err(faults) }
}

/// Where and what; of a long text in the document only the beginning.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let cut: String = what.chars().take(300).collect();
    format!("line {} column {}: {cut}", error.line(), error.column())
}
