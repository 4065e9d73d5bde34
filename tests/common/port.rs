//! Ports of this machine that nobody else takes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::TcpSocket;

/// A socket on `port`, or a free one for 0.
///
/// As long as it does not listen, it keeps the port for those who allow that with `SO_REUSEADDR`
/// (every server does), and for nobody else; connections are refused while none of them listens.
pub(crate) fn bound(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}
