//! The bytes of scans and photos: in a folder, or in S3.

use std::{path::absolute, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, parse_url_opts, path::Path};
use reqwest::Url;
use uuid::Uuid;

use super::error::{Error, Result};

/// Where objects are kept, each under a UUID that is never used again.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    /// In a folder, which is made with the first object; or at `s3://bucket/prefix`, by settings named as the AWS environment's.
    pub fn open(place: &str, settings: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        if place.starts_with("s3://") {
            let url = Url::parse(place).with_context(|| format!("{place} is not a URL"))?;
            let opened = parse_url_opts(&url, settings).with_context(|| format!("cannot work with {place}"))?;
            return Ok(Self { store: Arc::from(opened.0), prefix: opened.1 });
        }
        let folder = absolute(place).with_context(|| format!("{place} is not a folder"))?;
        let prefix = Path::from_absolute_path(&folder).with_context(|| format!("{place} is not a folder"))?;
        // What was acknowledged is on the disk.
        Ok(Self { store: Arc::new(LocalFileSystem::new().with_fsync(true)), prefix })
    }

    fn path(&self, id: Uuid) -> Path {
        self.prefix.clone().join(id.to_string())
    }

    /// Keeps an object whole, or not at all.
    pub async fn put(&self, id: Uuid, content: Bytes) -> Result<()> {
        self.store.put(&self.path(id), content.into()).await.map(drop).map_err(away)
    }

    /// The bytes of an object, piece by piece. One that is not there, or is not of `size` bytes, is broken.
    pub async fn get(&self, id: Uuid, size: u64) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        match self.store.get(&self.path(id)).await {
            Ok(found) if found.meta.size == size => Ok(found.into_stream().map_err(away)),
            Ok(found) => Err(Error::broken(format!("object {id} has {} bytes, not {size}", found.meta.size))),
            Err(error @ object_store::Error::NotFound { .. }) => Err(Error::broken(error)),
            Err(error) => Err(away(error)),
        }
    }

    /// Deletes an object, where it is there.
    pub async fn delete(&self, id: Uuid) -> Result<()> {
        match self.store.delete(&self.path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

/// What keeps the objects does not answer as it should: the same request may be sent again.
fn away(error: object_store::Error) -> Error {
    Error::Away(format!("the store of scans and photos: {error}"))
}
