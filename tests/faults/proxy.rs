//! A TCP proxy on loopback that breaks connections in every way we know, while it runs.
//!
//! It stands between one server and its database. What a mode does to connections that are open,
//! and to those that are opened while it lasts:
//!
//! | mode | open connections | new connections |
//! |---|---|---|
//! | `Pass` | bytes pass | pass |
//! | `Delay` | each chunk of bytes passes late | likewise |
//! | `BlackHole` | silent, not closed; what was under way arrives after the healing | accepted, silent |
//! | `Reset` | RST to both ends | accepted, then RST |
//! | `Close` | FIN to both ends | accepted, then FIN |
//! | `Refuse` | FIN to both ends | refused |
//! | `HalfClose` | one way ends with FIN, the other goes on | likewise |
//! | `Throttle` | so many bytes a second, each way | likewise |
//! | `Deaf` | PostgreSQL's notifications are left out, all else passes | likewise |

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{notifications, port};

/// The most that passes at once.
const CHUNK: usize = 16 * 1024;

/// How long the other end may take to answer a FIN before the socket is dropped.
const LINGER: Duration = Duration::from_millis(50);

/// What happens to the bytes. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    Delay(Duration),
    BlackHole,
    Reset,
    Close,
    Refuse,
    HalfClose(Way),
    /// Bytes per second, each way.
    Throttle(u32),
    Deaf,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToDatabase,
    ToClient,
}

impl Mode {
    /// Whether open connections end at once.
    fn cuts(self) -> bool {
        matches!(self, Self::Reset | Self::Close | Self::Refuse)
    }
}

/// A running proxy. Dropping it closes everything.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    count: Arc<Count>,
    work: JoinHandle<()>,
    /// Bound and never listening: nobody else gets the port while the listener is away, and a
    /// connection is refused then.
    _reservation: TcpSocket,
}

#[derive(Default)]
struct Count {
    accepted: AtomicUsize,
    left_out: AtomicUsize,
}

impl Proxy {
    /// Passes connections on to `port` of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let reservation = port::bound(0).unwrap();
        let own = reservation.local_addr().unwrap().port();
        let (mode, watched) = watch::channel(Mode::Pass);
        let count = Arc::<Count>::default();
        let listener = listening(own).unwrap();
        let work = tokio::spawn(accept(listener, own, port, watched, count.clone()));
        Self { port: own, mode, count, work, _reservation: reservation }
    }

    /// Where clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Switches, for connections that are open too. Whoever connects from now on meets `mode`.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections were accepted until now.
    pub(crate) fn accepted(&self) -> usize {
        self.count.accepted.load(Ordering::Relaxed)
    }

    /// How often notifications were left out until now.
    pub(crate) fn left_out(&self) -> usize {
        self.count.left_out.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn listening(port: u16) -> io::Result<TcpListener> {
    port::bound(port)?.listen(1024)
}

async fn accept(
    listener: TcpListener,
    own: u16,
    database: u16,
    mut mode: watch::Receiver<Mode>,
    count: Arc<Count>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = listening(own).ok();
        }
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            client = next(listener.as_ref()) => {
                count.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(client, database, mode.clone(), count.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

/// One connection, from its acceptance to its end.
async fn connection(
    mut client: TcpStream,
    database: u16,
    mut mode: watch::Receiver<Mode>,
    count: Arc<Count>,
) {
    // A new connection through a black hole reaches the database when that has healed.
    let lit = mode.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode);
    let Ok(now) = lit else { return };
    if now.cuts() {
        return end(client, now).await;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, database)).await else {
        // What is refused behind a proxy is closed before it.
        return end(client, Mode::Close).await;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let listener = Listener { listens: AtomicBool::new(false), count: &count };
        let there = pump(from_client, to_server, Way::ToDatabase, mode.clone(), &listener);
        let back = pump(from_server, to_client, Way::ToClient, mode.clone(), &listener);
        tokio::select! {
            cut = mode.wait_for(|mode| mode.cuts()) => cut.map_or(Mode::Close, |mode| *mode),
            _ = async { tokio::join!(there, back) } => Mode::Close,
        }
    };
    tokio::join!(end(client, cut), end(server, cut));
}

/// Ends one side of a connection in the manner of `mode`.
async fn end(mut side: TcpStream, mode: Mode) {
    if mode == Mode::Reset {
        // Closing a socket that lingers for no time sends RST.
        let _ = side.set_zero_linger();
        return;
    }
    let _ = side.shutdown().await;
    // A socket that is closed with bytes unread sends RST and not FIN.
    let mut rest = [0; 1024];
    let drained = async { while side.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    let _ = timeout(LINGER, drained).await;
}

/// Passes bytes one way until that ends, as the mode of the moment says.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut mode: watch::Receiver<Mode>,
    listener: &Listener<'_>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::HalfClose(way) {
            let _ = to.shutdown().await;
            return;
        }
        let most = match now {
            // Twenty times a second.
            Mode::Throttle(rate) => (rate as usize / 20).clamp(1, CHUNK),
            _ => CHUNK,
        };
        let length = tokio::select! {
            changed = mode.changed() => if changed.is_ok() { continue } else { return },
            read = from.read(&mut buffer[..most]), if now != Mode::BlackHole => read.unwrap_or(0),
        };
        let mut chunk = &mut buffer[..length];
        match now {
            Mode::Delay(time) => sleep(time).await,
            Mode::Throttle(rate) => sleep(Duration::from_secs(1) * length as u32 / rate).await,
            _ => {}
        }
        // What was read before the hole opened is in it.
        let lit = mode.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode);
        match way {
            Way::ToDatabase => listener.hear(chunk),
            Way::ToClient if lit.ok() == Some(Mode::Deaf) => chunk = listener.deafen(chunk),
            Way::ToClient => {}
        }
        if length == 0 || to.write_all(chunk).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// Whether a connection asks for notifications.
struct Listener<'c> {
    listens: AtomicBool,
    count: &'c Count,
}

impl Listener<'_> {
    fn hear(&self, chunk: &[u8]) {
        if notifications::asked_for(chunk) {
            self.listens.store(true, Ordering::Relaxed);
        }
    }

    fn deafen<'b>(&self, chunk: &'b mut [u8]) -> &'b mut [u8] {
        if !self.listens.load(Ordering::Relaxed) {
            return chunk;
        }
        let before = chunk.len();
        let chunk = notifications::without(chunk);
        if chunk.len() < before {
            self.count.left_out.fetch_add(1, Ordering::Relaxed);
        }
        chunk
    }
}
