//! JSON without the room for two readings: a name given twice, or text after the end, is refused.

use serde_json::Value;

/// Reads an object. No name stands twice in it or in anything under it, and nothing follows it.
pub(crate) fn object(json: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(json).ok()?;
    // The reader keeps the last of two members of one name: then fewer are kept than were written.
    (Value::is_object(&value) && kept(&value) == written(json)).then_some(value)
}

fn kept(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(kept).sum::<usize>(),
        Value::Array(items) => items.iter().map(kept).sum(),
        _ => 0,
    }
}

/// The members in a text that is JSON: each has one colon outside a string.
fn written(json: &[u8]) -> usize {
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons
}
