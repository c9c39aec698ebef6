//! An issuer for tests: real keys, and tokens put together by hand, so that wrong ones can be made.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

pub const NOW: i64 = 1_800_000_000;

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_secs(NOW).unwrap()
}

/// One key of each of the three algorithms, named `rsa`, `ec` and `ed`.
pub struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

/// What to sign with.
pub enum With<'a> {
    Ed,
    Ec,
    Rsa,
    Hmac(&'a [u8]),
    Nothing,
}

impl Issuer {
    pub fn new() -> Self {
        Self {
            ed: Ed25519KeyPair::generate().unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// A token over any two texts.
    pub fn raw(&self, header: &str, claims: &str, with: With<'_>) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.sign(signed.as_bytes(), with);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn token(&self, header: &Value, claims: &Value, with: With<'_>) -> String {
        self.raw(&header.to_string(), &claims.to_string(), with)
    }

    /// A good token, by the Ed25519 key.
    pub fn good(&self) -> String {
        self.token(&header("EdDSA", "ed"), &claims(), With::Ed)
    }

    pub fn sign(&self, signed: &[u8], with: With<'_>) -> Vec<u8> {
        let random = SystemRandom::new();
        match with {
            With::Ed => self.ed.sign(signed).as_ref().to_vec(),
            With::Ec => self.ec.sign(&random, signed).unwrap().as_ref().to_vec(),
            With::Rsa => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).unwrap();
                signature
            }
            With::Hmac(secret) => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&secret, signed).as_ref().to_vec()
            }
            With::Nothing => Vec::new(),
        }
    }

    pub fn rsa_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_der().unwrap().as_ref().to_vec()
    }

    pub fn rsa_pem(&self) -> String {
        let lines: Vec<String> = STANDARD
            .encode(self.rsa_der())
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    pub fn ed_jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "alg": "EdDSA",
            "x": encode(self.ed.public_key().as_ref())})
    }

    pub fn ec_jwk(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": "ec",
            "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    pub fn rsa_jwk(&self) -> Value {
        rsa_jwk(&self.rsa)
    }

    pub fn jwks(&self) -> Value {
        json!({"keys": [self.ed_jwk(), self.ec_jwk(), self.rsa_jwk()]})
    }
}

pub fn rsa_jwk(pair: &RsaKeyPair) -> Value {
    let public = pair.public_key();
    json!({"kty": "RSA", "kid": "rsa",
        "n": encode(public.modulus().big_endian_without_leading_zero()),
        "e": encode(public.exponent().big_endian_without_leading_zero())})
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": "JWT"})
}

/// The claims of a dealer's good token.
pub fn claims() -> Value {
    json!({"iss": "https://issuer.test", "aud": "warranty", "sub": "erp-7", "exp": NOW + 600,
        "iat": NOW, "scope": "coverage.read claims.apply", "dealer_id": "D-100"})
}

/// The object with one member set.
pub fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

/// The object without one member.
pub fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

/// A new file with this in it.
pub fn file(content: &Value) -> String {
    let path = format!("{}/jwks-{}.json", env!("CARGO_TARGET_TMPDIR"), uuid::Uuid::new_v4());
    std::fs::write(&path, content.to_string()).unwrap();
    path
}
