//! The proxy, mode by mode, before a server that answers with what it hears.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::proxy::{Mode, Proxy, Way};

/// How long silence has to last to be called that.
const A_WHILE: Duration = Duration::from_millis(150);

/// A proxy before an echo.
struct Echo {
    proxy: Proxy,
    server: JoinHandle<()>,
}

impl Echo {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
        Self { proxy: Proxy::to(port).await, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy.port())).await.unwrap()
    }

    /// A connection that has passed bytes both ways.
    async fn connected(&self) -> TcpStream {
        let mut client = self.connect().await;
        assert_eq!(asked(&mut client, b"hello").await, b"hello");
        client
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What comes back when `words` are said.
async fn asked(client: &mut TcpStream, words: &[u8]) -> Vec<u8> {
    client.write_all(words).await.unwrap();
    let mut heard = vec![0; words.len()];
    client.read_exact(&mut heard).await.unwrap();
    heard
}

/// What a read meets: the error, or the number of bytes.
async fn met(client: &mut TcpStream) -> Result<usize, ErrorKind> {
    let read = timeout(Duration::from_secs(5), client.read(&mut [0; 64])).await;
    read.expect("neither bytes nor an end").map_err(|error| error.kind())
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(A_WHILE, client.read(&mut [0; 64])).await.is_err()
}

#[tokio::test]
async fn bytes_pass() {
    let echo = Echo::new().await;
    let mut client = echo.connected().await;
    let much = vec![7; 100_000];
    let (mut from, mut to) = client.split();
    let mut heard = vec![0; much.len()];
    let (wrote, read) = tokio::join!(to.write_all(&much), from.read_exact(&mut heard));
    assert!(wrote.is_ok() && read.is_ok() && heard == much);
    client.shutdown().await.unwrap();
    assert_eq!(met(&mut client).await, Ok(0));
    assert_eq!(echo.proxy.accepted(), 1);
}

#[tokio::test]
async fn delayed_bytes_pass_late() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::Delay(Duration::from_millis(60)));
    for client in [&mut open, &mut echo.connect().await] {
        let began = Instant::now();
        asked(client, b"hello").await;
        // There and back.
        assert!(began.elapsed() >= Duration::from_millis(120));
    }
}

#[tokio::test]
async fn a_black_hole_is_silent_and_what_fell_into_it_arrives_after_the_healing() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::BlackHole);
    let mut new = echo.connect().await;
    for client in [&mut open, &mut new] {
        client.write_all(b"hello").await.unwrap();
        assert!(is_silent(client).await);
    }
    echo.proxy.set(Mode::Pass);
    for client in [&mut open, &mut new] {
        assert_eq!(met(client).await, Ok(5));
    }
}

#[tokio::test]
async fn bytes_that_were_under_way_fall_into_the_hole_too() {
    let echo = Echo::new().await;
    let mut client = echo.connected().await;
    echo.proxy.set(Mode::Delay(Duration::from_millis(50)));
    client.write_all(b"hello").await.unwrap();
    sleep(Duration::from_millis(20)).await;
    echo.proxy.set(Mode::BlackHole);
    assert!(is_silent(&mut client).await);
    echo.proxy.set(Mode::Pass);
    assert_eq!(met(&mut client).await, Ok(5));
}

#[tokio::test]
async fn resets_open_and_new_connections() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::Reset);
    assert_eq!(met(&mut open).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(met(&mut echo.connect().await).await, Err(ErrorKind::ConnectionReset));
    echo.proxy.set(Mode::Pass);
    echo.connected().await;
}

#[tokio::test]
async fn closes_open_and_new_connections() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::Close);
    assert_eq!(met(&mut open).await, Ok(0));
    let mut new = echo.connect().await;
    // Also one that has said something: a FIN, not an RST.
    new.write_all(b"hello").await.unwrap();
    assert_eq!(met(&mut new).await, Ok(0));
    echo.proxy.set(Mode::Pass);
    echo.connected().await;
}

#[tokio::test]
async fn refuses_new_connections_and_is_on_the_same_port_again() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::Refuse);
    assert_eq!(met(&mut open).await, Ok(0));
    let refused = TcpStream::connect(("127.0.0.1", echo.proxy.port())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    echo.proxy.set(Mode::Pass);
    let again = async {
        while TcpStream::connect(("127.0.0.1", echo.proxy.port())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), again).await.unwrap();
    echo.connected().await;
}

#[tokio::test]
async fn half_closes_the_way_to_the_client() {
    let echo = Echo::new().await;
    let mut open = echo.connected().await;
    echo.proxy.set(Mode::HalfClose(Way::ToClient));
    assert_eq!(met(&mut open).await, Ok(0));
    // The other way is open.
    open.write_all(b"hello").await.unwrap();
    assert_eq!(met(&mut echo.connect().await).await, Ok(0));
}

#[tokio::test]
async fn half_closes_the_way_to_the_database() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap().port()).await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut database, _) = listener.accept().await.unwrap();
    proxy.set(Mode::HalfClose(Way::ToDatabase));
    assert_eq!(met(&mut database).await, Ok(0));
    database.write_all(b"hello").await.unwrap();
    assert_eq!(met(&mut client).await, Ok(5));
}

#[tokio::test]
async fn throttled_bytes_trickle() {
    let echo = Echo::new().await;
    let mut client = echo.connected().await;
    echo.proxy.set(Mode::Throttle(2_000));
    let began = Instant::now();
    asked(&mut client, &[7; 400]).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    echo.proxy.set(Mode::Pass);
    let began = Instant::now();
    asked(&mut client, &[7; 4_000]).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_deaf_proxy_passes_all_but_notifications_to_listeners() {
    let notified = b"A\0\0\0\x0e\0\0\0\x01ab\0cd\0";
    let echo = Echo::new().await;
    echo.proxy.set(Mode::Deaf);
    let mut listener = echo.connect().await;
    asked(&mut listener, b"Q\0\0\0\x0dLISTEN x\0").await;
    listener.write_all(notified).await.unwrap();
    assert!(is_silent(&mut listener).await);
    assert_eq!(echo.proxy.left_out(), 1);
    assert_eq!(asked(&mut listener, b"Z\0\0\0\x05I").await, b"Z\0\0\0\x05I");
    let mut other = echo.connect().await;
    assert_eq!(asked(&mut other, notified).await, notified);
}
