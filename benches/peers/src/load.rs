//! The generator of load: connections that are kept alive, with one request under way on each.
//!
//! It goes round: takes the answer of a connection, waiting if need be, and sends the next request.
//! That is two system calls a request and little else, so that it takes less of the machine than
//! what it measures.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

/// Connections to one server.
pub(crate) struct Load {
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    requests: Arc<[Vec<u8>]>,
    next: usize,
    /// The last one. All answers of a server are equally long.
    answer: Vec<u8>,
}

impl Load {
    /// Opens them and sends each request once.
    pub(crate) fn open(
        port: u16,
        connections: usize,
        requests: &Arc<[Vec<u8>]>,
    ) -> io::Result<Self> {
        let mut opened = Vec::new();
        for number in 0..connections {
            let next = number * requests.len() / connections;
            opened.push(Connection::open(port, requests.clone(), next)?);
        }
        for _ in 0..requests.len() {
            opened[0].send()?;
            opened[0].receive()?;
        }
        Ok(Self { connections: opened })
    }

    /// Answers per second over so much time.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<f64> {
        let (began, mut answers) = (Instant::now(), 0);
        self.connections.iter_mut().try_for_each(Connection::send)?;
        while began.elapsed() < time {
            for connection in &mut self.connections {
                connection.receive()?;
                connection.send()?;
                answers += 1;
            }
        }
        let taken = began.elapsed();
        self.connections.iter_mut().try_for_each(Connection::receive)?;
        Ok(f64::from(answers) / taken.as_secs_f64())
    }
}

impl Connection {
    /// The first answer tells how long they are.
    fn open(port: u16, requests: Arc<[Vec<u8>]>, next: usize) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let mut opened = Self { stream, requests, next, answer: Vec::new() };
        opened.send()?;
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            opened.stream.read_exact(&mut byte)?;
            text.extend(byte);
        }
        let head = String::from_utf8_lossy(&text).to_lowercase();
        let body: usize = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.lines().next()?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("an answer without a length: {head}")))?;
        opened.stream.read_exact(&mut vec![0; body])?;
        opened.answer = vec![0; text.len() + body];
        Ok(opened)
    }

    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.requests[self.next])?;
        self.next = (self.next + 1) % self.requests.len();
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.stream.read_exact(&mut self.answer)?;
        if self.answer.starts_with(b"HTTP/1.1 200") {
            return Ok(());
        }
        Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(&self.answer))))
    }
}
