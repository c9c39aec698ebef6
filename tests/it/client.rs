//! `warranty call` as a person types it. What it says where everything runs stands in `local.rs`.

use std::process::Command;

#[test]
fn a_wrong_call_is_told_in_one_sentence() {
    for (method, request, told) in [
        ("CheckCoverage", "{}", "CheckCoverage is not SERVICE/METHOD"),
        ("Coverage/CheckCoverage", "{}", "no service Coverage; there are "),
        ("ClaimService/Check", "{}", "ClaimService has no Check; it has FileClaim, "),
        ("CoverageService/CheckCoverage", "[]", "the request is not a CheckCoverageRequest: "),
        ("CoverageService/CheckCoverage", r#"{"sreial": "SN1"}"#, "the request is not a CheckCoverageRequest: "),
        ("CoverageService/CheckCoverage", "{} {}", "something stands after the request"),
        ("CoverageService/CheckCoverage", "{}", "no service answers at http://127.0.0.1:1"),
        ("aopre.warranty.v1.CoverageService/CheckCoverage", "{}", "no service answers at http://127.0.0.1:1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_warranty"))
            .args(["call", method, request, "--coverage-address", "http://127.0.0.1:1"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.starts_with(&format!("warranty: {told}")), "{said}");
    }
}
