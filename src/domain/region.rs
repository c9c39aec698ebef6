//! Regions by ISO 3166-2 code (S4).

use serde::{Deserialize, Serialize};

/// A region by its ISO 3166-2 code of today, such as `CN-GD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);
super::text!(Region, NotARegion);

/// Why a text is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region is an ISO 3166-2 code such as CN-GD")]
pub struct NotARegion;

/// China's codes: the letters of today, and the numbers of before 2017 that ERP systems still send.
#[rustfmt::skip]
const CHINA: &[(&str, &str)] = &[
    ("BJ", "11"), ("TJ", "12"), ("HE", "13"), ("SX", "14"), ("NM", "15"), ("LN", "21"), ("JL", "22"), ("HL", "23"),
    ("SH", "31"), ("JS", "32"), ("ZJ", "33"), ("AH", "34"), ("FJ", "35"), ("JX", "36"), ("SD", "37"), ("HA", "41"),
    ("HB", "42"), ("HN", "43"), ("GD", "44"), ("GX", "45"), ("HI", "46"), ("CQ", "50"), ("SC", "51"), ("GZ", "52"),
    ("YN", "53"), ("XZ", "54"), ("SN", "61"), ("GS", "62"), ("QH", "63"), ("NX", "64"), ("XJ", "65"), ("TW", "71"),
    ("HK", "91"), ("MO", "92"),
];

/// ISO 3166-1's countries, other than China.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL \
    GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK \
    LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG \
    PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

impl Region {
    /// Reads a code; China's old numbers become today's letters. A bare country is no region.
    pub fn parse(text: &str) -> Result<Self, NotARegion> {
        let code = text.to_ascii_uppercase();
        let (country, part) = code.split_once('-').ok_or(NotARegion)?;
        let well_formed = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed || country.len() != 2 {
            return Err(NotARegion);
        }
        if country == "CN" {
            return CHINA
                .iter()
                .find(|(letters, number)| part == *letters || part == *number)
                .map(|(letters, _)| Self(format!("CN-{letters}")))
                .ok_or(NotARegion);
        }
        if COUNTRIES.split(' ').any(|known| known == country) {
            return Ok(Self(code));
        }
        Err(NotARegion)
    }

    /// Whether it lies in mainland China: not in Hong Kong, Macao or Taiwan.
    pub fn is_mainland(&self) -> bool {
        self.0.strip_prefix("CN-").is_some_and(|part| !matches!(part, "HK" | "MO" | "TW"))
    }
}
