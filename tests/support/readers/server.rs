//! A server on this computer that answers what it was given, to anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The body of an answer, by path and body of the question.
type Answer = Box<dyn Fn(&str, &str) -> Vec<u8> + Send>;

static ANSWER: Mutex<Option<Answer>> = Mutex::new(None);

/// The address of a server that answers so from now on.
pub fn server(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> &'static str {
    static BASE: OnceLock<String> = OnceLock::new();
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(answer));
    BASE.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(&stream));
            }
        });
        base
    })
}

fn serve(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if path.is_empty() {
                line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
            }
            if let Some((name, value)) = line.trim().split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answer.as_ref().map(|answer| answer(&path, &String::from_utf8_lossy(&body))).unwrap_or_default();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        let mut writer = stream;
        writer.write_all(&[head.as_bytes(), &answer].concat())?;
    }
}
