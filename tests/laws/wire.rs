//! What goes over the wire to a database server, counted where it passes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// A way to a server that counts what clients send on it.
pub(crate) struct Wire {
    /// The database's URL by this way.
    pub(crate) url: String,
    sent: Arc<AtomicU64>,
}

impl Wire {
    /// To the database at `url`, which names a port of loopback.
    pub(crate) async fn to(url: &str) -> Self {
        let (_, server) = url.split_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(AtomicU64::new(0));
        let wire = Self { url: url.replace(server, &here), sent: sent.clone() };
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), sent.clone()));
            }
        });
        wire
    }

    /// The bytes that clients have sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Until one of both is gone.
async fn forward(client: TcpStream, server: String, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut buffer = [0; 8_192];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            sent.fetch_add(count as u64, Ordering::Relaxed);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
