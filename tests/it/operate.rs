//! What operators rest on: an old binary on a newer schema, and readers of feeds that are ahead of a restored database.

use sqlx::Executor;
use tonic::Code;
use warranty::{contract::v1::*, store};

use crate::world::{World, filing, refusal, violations};

/// Every table has a column more, and there is a table more: what a later, compatible migration does.
const NEWER: &str = "
    DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> '_sqlx_migrations' LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN of_a_later_release text', t.tablename);
        END LOOP;
    END $$;
    CREATE TABLE of_a_later_release (id bigint PRIMARY KEY);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, '', 0);";

#[tokio::test]
async fn a_binary_works_on_a_schema_that_a_newer_one_migrated() {
    let world = World::stocked().await;
    world.owner().await.execute(NEWER).await.unwrap();
    assert!(store::ready(&world.worker()).await.unwrap());
    store::migrate(&world.url).await.expect("nothing to do for an older binary");
    let claim = world.filed("NEWER00001", 10).await;
    assert_eq!(claim.state(), ClaimState::Filed);
    let again = world.dealer("D1").claims.file_claim(filing("NEWER00001")).await.unwrap_err();
    assert_eq!(refusal(&again), (Code::FailedPrecondition, "OPEN_CLAIM_EXISTS".to_owned()));
}

#[tokio::test]
async fn a_schema_that_is_older_than_the_binary_needs_is_not_ready() {
    let world = World::start().await;
    let older = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    world.owner().await.execute(older).await.unwrap();
    assert!(!store::ready(&world.worker()).await.unwrap());
}

#[tokio::test]
async fn a_feed_is_not_read_on_from_a_number_that_it_never_gave() {
    let world = World::start().await;
    let mut staff = world.staff();
    let ahead = ListBillableRepairsRequest { after_sequence: 1, page_size: 0 };
    let told = ("after_sequence".to_owned(), "must be 0 or a number that was told".to_owned());
    let refused = staff.claims.list_billable_repairs(ahead).await.unwrap_err();
    assert_eq!((refused.code(), violations(&refused)), (Code::InvalidArgument, vec![told.clone()]));
    let ahead = ExportFreightRequest { after_sequence: 1, page_size: 0 };
    let refused = staff.logistics.export_freight(ahead).await.unwrap_err();
    assert_eq!((refused.code(), violations(&refused)), (Code::InvalidArgument, vec![told]));
    let ahead = WatchClaimsRequest { cursor: "2".into(), ..Default::default() };
    let refused = staff.claims.watch_claims(ahead).await.unwrap_err();
    assert_eq!((refused.code(), violations(&refused)[0].0.as_str()), (Code::InvalidArgument, "cursor"));
}
