//! Pages: a size, and an opaque token that is bound to the caller and the filters it was given for.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};

use super::fields::Fields;
use crate::auth::Call;

/// What a list asks for.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many.
    pub size: i64,
    /// The key of the last entry before it; none for the first page.
    pub after: Option<String>,
    bound_to: String,
}

impl Page {
    /// Reads `page_size` and `page_token`. `filters` is the request without the two.
    pub fn read(fields: &mut Fields, call: &Call, size: i32, token: &str, filters: &impl Message) -> Option<Self> {
        if !(0..=500).contains(&size) {
            fields.violate("page_size", "must be 0 to 500");
        }
        let mut hash = Sha256::new();
        hash.update(call.actor.to_string());
        hash.update([0]);
        hash.update(call.method);
        hash.update(filters.encode_to_vec());
        let bound_to = BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..12]);
        let after = match token {
            "" => None,
            token => match key(token, &bound_to) {
                Some(key) => Some(key),
                None => {
                    fields.violate("page_token", "must be the token of this caller's last page with the same filters");
                    return None;
                }
            },
        };
        Some(Self { size: if size == 0 { 50 } else { size.into() }, after, bound_to })
    }

    /// How many to fetch: one more than the page, which tells whether there is another.
    pub fn fetch(&self) -> i64 {
        self.size + 1
    }

    /// Cuts what was fetched to the page, and gives the next one's token, empty at the end.
    pub fn cut<T>(&self, entries: &mut Vec<T>, key: impl Fn(&T) -> String) -> String {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if entries.len() <= size {
            return String::new();
        }
        entries.truncate(size);
        entries
            .last()
            .map_or_else(String::new, |last| BASE64_URL_SAFE_NO_PAD.encode(format!("{}.{}", self.bound_to, key(last))))
    }
}

fn key(token: &str, bound_to: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (bound, key) = text.split_once('.')?;
    // A key of ours is a name, a number or a UUID.
    let ours = bound == bound_to && key.bytes().all(|b| b.is_ascii_graphic());
    ours.then(|| key.to_owned())
}
