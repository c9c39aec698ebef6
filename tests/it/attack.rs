//! What an attacker tried, and is now refused.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tonic::Code;
use warranty::contract::v1::*;

use crate::world::{World, contact, filing, id, refusal, violations};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_bad_input_stays_small() {
    let world = World::stocked().await;
    world.sold("UNIT1", 3).await;
    // A thousand units with four faults each: the answer's headers are what a client takes.
    let units = vec![Unit { serial: "x".into(), model: "?".into(), ..Default::default() }; 1000];
    let request = RegisterUnitsRequest { request_id: id(), units };
    let refused = world.staff().registry.register_units(request).await.unwrap_err();
    let told = violations(&refused);
    assert_eq!((told.len(), told[20].0.as_str()), (21, "*"));
    assert!(refused.message().len() + refused.details().len() < 4096, "{}", refused.message());
    // Lists that nothing needs so long are not taken apart.
    let request = CheckCoverageRequest { serial: "UNIT1".into(), findings: vec![99; 100_000], ..Default::default() };
    let refused = world.dealer("D1").coverage.check_coverage(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
    let request = ListClaimsRequest { states: vec![1; 100_000], ..Default::default() };
    let refused = world.dealer("D1").claims.list_claims(request).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "TOO_LARGE".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_gives_no_sale_a_contract_and_moves_no_date_under_a_claim() {
    let world = World::stocked().await;
    let (contract_number, terms) =
        ("K-1".to_owned(), Some(ContractTerms { repair_months: Some(36), ..Default::default() }));
    let draft = CreateContractRequest { request_id: id(), contract_number: contract_number.clone(), terms };
    world.staff().registry.create_contract(draft).await.unwrap();
    world.sold("UNIT1", 100).await;
    let correct = RegisterSaleRequest {
        request_id: id(),
        serial: "UNIT1".into(),
        dealer_id: "D1".into(),
        sold_date: Some(world.today(-1)),
        invoice_number: "F-UNIT1".into(),
        customer: Some(contact()),
        version: 1,
        ..Default::default()
    };
    // Whether the contract is there makes no difference to what a dealer is told.
    for number in ["K-1", "K-NOPE"] {
        let request = RegisterSaleRequest { request_id: id(), contract_number: number.into(), ..correct.clone() };
        let refused = world.dealer("D1").registry.register_sale(request).await.unwrap_err();
        let rule = "must be left out: the maker's staff put a sale under a contract";
        assert_eq!(violations(&refused), [("contract_number".to_owned(), rule.to_owned())]);
    }
    // Staff put it under the contract; a dealer's correction leaves it there.
    let request = RegisterSaleRequest { request_id: id(), contract_number, ..correct.clone() };
    world.staff().registry.register_sale(request).await.unwrap();
    let request = RegisterSaleRequest { request_id: id(), version: 2, ..correct.clone() };
    let sale = world.dealer("D1").registry.register_sale(request).await.unwrap().into_inner().sale.unwrap();
    assert_eq!((sale.contract_number.as_str(), sale.version), ("K-1", 3));
    world.dealer("D1").claims.file_claim(filing("UNIT1")).await.unwrap();
    let request = RegisterSaleRequest { request_id: id(), version: 3, ..correct.clone() };
    let refused = world.dealer("D1").registry.register_sale(request.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "REGISTRY_CONFLICT".into()));
    world.staff().registry.register_sale(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_page_token_is_bad_input() {
    let world = World::stocked().await;
    let request = ListDealersRequest { page_size: 1, ..Default::default() };
    let token = world.staff().registry.list_dealers(request).await.unwrap().into_inner().next_page_token;
    let plain = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    assert_eq!(&plain[12..], b"D1");
    for key in ["D2", "D0", "D1\0", "\0", ""] {
        let page_token = BASE64_URL_SAFE_NO_PAD.encode([&plain[..12], key.as_bytes()].concat());
        let request = ListDealersRequest { page_size: 1, page_token };
        let refused = world.staff().registry.list_dealers(request).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::InvalidArgument, "INVALID_FIELDS".into()), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_touches_no_unit_of_an_open_claim() {
    let world = World::stocked().await;
    world.filed("UNIT1", 3).await;
    world.unit("UNIT2").await;
    for (replaced, replacement) in [("UNIT1", "UNIT2"), ("UNIT2", "UNIT1")] {
        let step = Replacement {
            replaced_serial: replaced.into(),
            replacement_serial: replacement.into(),
            replaced_date: Some(world.today(0)),
        };
        let request = RecordHistoryRequest { request_id: id(), repairs: vec![], replacements: vec![step] };
        let refused = world.staff().registry.record_history(request).await.unwrap_err();
        assert_eq!(refusal(&refused), (Code::FailedPrecondition, "OPEN_CLAIM_EXISTS".into()));
    }
}
