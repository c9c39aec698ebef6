//! Scans and photos of a claim (M1): what is taken.

use strum::{Display, EnumIter, EnumString};

use super::refusal::Refusal;

/// The largest, bytes.
pub const MOST_BYTES: usize = 10 << 20;
/// The largest chunk, bytes.
pub const MOST_CHUNK_BYTES: usize = 1 << 20;
/// So many of one claim; and as many that are not complete yet.
pub const MOST_OF_A_CLAIM: i64 = 20;

/// What it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum EvidenceKind {
    Invoice,
    WarrantyCard,
    Photo,
}

/// What it is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[allow(missing_docs)]
pub enum MediaType {
    #[strum(serialize = "image/jpeg")]
    Jpeg,
    #[strum(serialize = "image/png")]
    Png,
    #[strum(serialize = "image/webp")]
    Webp,
    #[strum(serialize = "application/pdf")]
    Pdf,
}

impl MediaType {
    /// By the first bytes, of which 12 tell; its name says nothing.
    pub fn of(content: &[u8]) -> Result<Self, Refusal> {
        match content {
            [0xFF, 0xD8, 0xFF, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::Webp),
            [b'%', b'P', b'D', b'F', b'-', ..] => Ok(Self::Pdf),
            _ => Err(Refusal::EvidenceRefused("its content is none of JPEG, PNG, WebP and PDF")),
        }
    }
}

/// What its applicant says of the whole with the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub sha256: [u8; 32],
}

/// Whether what came is what was meant.
pub fn is_whole(meant: &Whole, came: &Whole) -> Result<(), Refusal> {
    if meant.size > MOST_BYTES as u64 {
        return Err(Refusal::EvidenceRefused("it has more than 10 MiB"));
    }
    if meant.size != came.size {
        return Err(Refusal::EvidenceRefused("its size is not that of the chunks that came"));
    }
    if meant.sha256 != came.sha256 {
        return Err(Refusal::EvidenceRefused("its SHA-256 is not that of the chunks that came"));
    }
    Ok(())
}
