//! A small web server on this computer that misbehaves on request.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, clippy::return_self_not_must_use)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cache::lock;
use super::{Limits, Network};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// How many requests to this path came before.
    pub before: usize,
}

/// What to answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    cut: Option<usize>,
    stall: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn whole(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// With another status.
    pub fn coded(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The range that was asked for, as a good server sends it.
    pub fn range(request: &Request, bytes: &[u8]) -> Self {
        let length = bytes.len();
        let Some((first, last)) = request.range() else { return Self::whole(bytes).with("etag", "\"one\"") };
        if first >= length {
            return Self::status(416).with("content-range", &format!("bytes */{length}"));
        }
        let last = last.min(length - 1);
        let reply = Self { status: 206, body: bytes[first..=last].to_vec(), ..Self::default() };
        reply.with("content-range", &format!("bytes {first}-{last}/{length}")).with("etag", "\"one\"")
    }

    /// With this header and no other of its name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub fn truncated(mut self, length: usize) -> Self {
        self.body.truncate(length);
        self
    }

    pub fn after(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }
}

impl Request {
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

type Respond = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server; its threads end with the process.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub base: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let log: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (respond, seen): (Arc<Respond>, _) = (Arc::new(respond), Arc::clone(&log));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (respond, seen) = (Arc::clone(&respond), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &*respond, &seen));
            }
        });
        Self { base, log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }
}

fn serve(stream: TcpStream, respond: &Respond, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    // Head and body are two writes; the second would wait for the reader's word on the first.
    stream.set_nodelay(true).ok()?;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let mut words = lines.first()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<String, String> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let request = {
            let mut seen = lock(seen);
            let before = seen.iter().filter(|request| request.path == path).count();
            let request = Request { method, path, headers, body, before };
            seen.push(request.clone());
            request
        };
        let reply = respond(&request);
        std::thread::sleep(reply.stall);
        let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if reply.headers.iter().all(|(name, _)| name != "content-length") {
            head.extend(["content-length: ", &reply.body.len().to_string(), "\r\n"]);
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())]).ok()?;
        if reply.cut.is_some() {
            return None;
        }
    }
}

/// Impatient connections with small blocks.
pub fn network() -> Arc<Network> {
    Network::new(Limits {
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(50),
        silence: Duration::from_millis(500),
        block: 64 << 10,
        blocks: 4,
        ..Limits::default()
    })
}

/// A megabyte and a bit, in which no two places look the same.
pub fn pattern() -> Vec<u8> {
    (0..270_001_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}
