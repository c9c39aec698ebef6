//! What the domain writes as a text is kept as that text: an enum by its name, a serial as it is.

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef},
};

use super::billing;
use crate::domain::{
    claim::{AppealOutcome, Guidance, OutcomeName, Seal, StateName, VoucherVerdict},
    clause::Clause,
    coverage::{Payer, Remedy},
    event::Stage,
    evidence::{EvidenceKind, MediaType},
    facts::{Appearance, Part, ProductType},
    freight,
    ledger::{Closing, Debtor, Owed},
    parcel::{Difference, Direction, Settlement, TrackingStatus},
    quote::{PriceKind, QuoteState},
    region::Region,
    return_number::ReturnNumber,
    serial::Serial,
};

macro_rules! texts {
    ($($of:ty),* $(,)?) => {$(
        impl Type<Postgres> for $of {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }

            fn compatible(column: &PgTypeInfo) -> bool {
                <str as Type<Postgres>>::compatible(column)
            }
        }

        impl PgHasArrayType for $of {
            fn array_type_info() -> PgTypeInfo {
                <&str as PgHasArrayType>::array_type_info()
            }

            fn array_compatible(column: &PgTypeInfo) -> bool {
                <&str as PgHasArrayType>::array_compatible(column)
            }
        }

        impl<'r> Decode<'r, Postgres> for $of {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<Postgres>>::decode(value)?.parse()?)
            }
        }

        impl Encode<'_, Postgres> for $of {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                Encode::<Postgres>::encode_by_ref(&self.to_string(), buffer)
            }
        }
    )*};
}

texts!(
    billing::Kind,
    freight::EntryKind,
    freight::Terms,
    AppealOutcome,
    Appearance,
    Clause,
    Closing,
    Debtor,
    Difference,
    Direction,
    EvidenceKind,
    Guidance,
    MediaType,
    OutcomeName,
    Owed,
    Part,
    Payer,
    PriceKind,
    ProductType,
    QuoteState,
    Region,
    Remedy,
    ReturnNumber,
    Seal,
    Serial,
    Settlement,
    Stage,
    StateName,
    TrackingStatus,
    VoucherVerdict,
);
