//! Pages: a size, and an opaque token that is bound to the caller and the filters it was given for.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::fields::Fields;
use crate::auth::Call;

/// A token's bytes before its key.
const HASH: usize = 12;

/// What a list asks for.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many.
    pub size: i64,
    /// The key of the last entry before it; none for the first page.
    pub after: Option<String>,
    /// A hash of the caller, the method and the filters.
    bound_to: Sha256,
}

impl Page {
    /// Reads `page_size` and `page_token`. `filters` is the request without the two.
    pub fn read(fields: &mut Fields, call: &Call, size: i32, token: &str, filters: &impl Message) -> Option<Self> {
        if !(0..=500).contains(&size) {
            fields.violate("page_size", "must be 0 to 500");
        }
        let mut bound_to = Sha256::new();
        bound_to.update(call.actor.to_string());
        bound_to.update([0]);
        bound_to.update(call.method);
        bound_to.update(filters.encode_to_vec());
        let mut page = Self { size: if size == 0 { 50 } else { size.into() }, after: None, bound_to };
        if !token.is_empty() {
            page.after = page.key(token);
            if page.after.is_none() {
                return Self::refuse(fields);
            }
        }
        Some(page)
    }

    /// What a feed is asked for: after which number, and at most how many. It has no tokens: a reader keeps its number.
    pub fn feed(call: &Call, size: i32, after_sequence: i64) -> Result<(i64, i64), Status> {
        Fields::one(|fields| {
            let page = Self::read(fields, call, size, "", &());
            if after_sequence < 0 {
                fields.violate("after_sequence", "must not be negative");
            }
            page.map(|page| (after_sequence, page.size))
        })
    }

    /// The key of the last entry before it, as what it is; none for the first page.
    pub fn after_as<K: FromStr>(&self, fields: &mut Fields) -> Option<Option<K>> {
        match self.after.as_deref().map(str::parse).transpose() {
            Ok(key) => Some(key),
            Err(_) => Self::refuse(fields),
        }
    }

    fn refuse<T>(fields: &mut Fields) -> Option<T> {
        fields.violate("page_token", "must be the token of this caller's last page with the same filters");
        None
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
        entries.last().map_or_else(String::new, |last| self.token(&key(last)))
    }

    /// A key of any text, behind a hash of it and of what the page is bound to.
    fn token(&self, key: &str) -> String {
        let hash = self.bound_to.clone().chain_update([0]).chain_update(key).finalize();
        BASE64_URL_SAFE_NO_PAD.encode([&hash[..HASH], key.as_bytes()].concat())
    }

    /// The key of a token of ours.
    fn key(&self, token: &str) -> Option<String> {
        let whole = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let key = String::from_utf8(whole.get(HASH..)?.to_vec()).ok()?;
        (token == self.token(&key) && !key.contains(char::is_control)).then_some(key)
    }
}

/// Reads the page that a list's request asks for: all else in it are its filters.
macro_rules! page {
    ($fields:ident, $call:ident, $request:ident) => {{
        let mut filters = $request.clone();
        (filters.page_size, filters.page_token) = Default::default();
        Page::read(&mut $fields, &$call, $request.page_size, &$request.page_token, &filters)
    }};
}
pub(super) use page;
