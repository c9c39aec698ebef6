//! Accepts connections, a bounded number at once.

use std::{
    io,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// Accepts while fewer than `most` are open. What comes on top waits.
pub(super) fn incoming(listener: TcpListener, most: u32) -> impl Stream<Item = io::Result<Pin<Connection>>> {
    let places = Arc::new(Semaphore::new(most as usize));
    TcpIncoming::from(listener).with_nodelay(Some(true)).then(move |accepted| {
        let places = Arc::clone(&places);
        async move {
            let place = places.acquire_owned().await.expect("the semaphore of connections is never closed");
            if let Err(error) = &accepted {
                // Out of file descriptors, most likely: trying again at once would spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            accepted.map(|stream| Pin::new(Connection { stream, _place: place }))
        }
    })
}

/// A connection and its place among those allowed at once. Pinned, it reads and writes as the stream it points to.
pub(super) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Deref for Connection {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Connected for Pin<Connection> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpStream::connect_info(self)
    }
}
