use std::time::{Duration, Instant};

use super::*;
use crate::network::Limits;
use crate::testing::{Reply, Request, Server, network, pattern};

fn served(respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Server, Result<HttpFile>) {
    let server = Server::start(respond);
    let file = HttpFile::open(&network(), &server.url("/x.safetensors"));
    (server, file)
}

/// The error of opening the file and reading from its middle.
fn refused(respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Server, Error) {
    let (server, file) = served(respond);
    let error = file.and_then(|file| file.bytes(500_000, 10).map(drop)).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    (server, error)
}

#[track_caller]
fn says(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
}

#[test]
fn reads_the_same_bytes_with_few_requests_and_little_memory() {
    let bytes = pattern();
    let (server, file) = served(move |request| Reply::range(request, &pattern()));
    let file = file.unwrap();
    assert_eq!((file.len(), file.uri()), (bytes.len() as u64, server.url("/x.safetensors")));
    for (offset, length) in [(0, 8), (8, 30_000), (32_768, 0), (65_530, 12), (1_080_000, 4), (0, bytes.len())] {
        assert_eq!(&*file.bytes(offset as u64, length).unwrap(), &bytes[offset..offset + length]);
    }
    let before = server.requests().len();
    for offset in (0..60_000).step_by(100) {
        file.bytes(offset + 1_000_000 / 65_536 * 65_536, 50).unwrap();
    }
    assert!(server.requests().len() - before <= 1, "small reads are one request");
    assert!(file.network.cache.held() <= 4);
    for (offset, length) in [(bytes.len() as u64, 1), (u64::MAX, 1)] {
        assert!(file.bytes(offset, length).unwrap_err().is_input());
    }
    let network = Arc::clone(&file.network);
    drop(file);
    assert_eq!(network.cache.held(), 0);
}

#[test]
fn every_byte_is_fetched_once_however_often_it_is_read() {
    let bytes = pattern();
    let (server, file) = served(move |request| Reply::range(request, &pattern()));
    let file = file.unwrap();
    // Seventeen blocks, of which four are held in memory.
    for _ in 0..3 {
        assert_eq!(&*file.bytes(0, bytes.len()).unwrap(), &bytes[..]);
    }
    let sent = |request: &Request| request.range().map_or(0, |(first, last)| last.min(bytes.len() - 1) + 1 - first);
    let sent: usize = server.requests().iter().map(sent).sum();
    assert!(sent as f64 <= 1.05 * bytes.len() as f64, "{sent} of {}", bytes.len());
}

#[test]
fn an_empty_file_is_one() {
    let (_server, file) = served(|request| Reply::range(request, b""));
    assert!(file.unwrap().is_empty());
    let (_server, file) = served(|_| Reply::whole(""));
    assert!(file.unwrap().is_empty());
}

#[test]
fn a_server_without_ranges_is_refused() {
    let (server, error) = refused(|_| Reply::whole(pattern()));
    says(&error, &["does not answer range requests", "download it", "/x.safetensors"]);
    assert!(error.is_input());
    assert_eq!(server.requests().len(), 1);
    let (_, error) = refused(|request| match request.before {
        0 => Reply::range(request, &pattern()),
        _ => Reply::whole(pattern()).with("etag", "\"one\""),
    });
    says(&error, &["does not answer range requests"]);
}

#[test]
fn another_range_or_another_length_is_refused() {
    for (range, word) in [
        ("bytes 0-5/1080004", "were asked for"),
        ("bytes 9-5/1080004", "does not say which range"),
        ("bytes 0-99/50", "does not say which range"),
        ("bytes 0-32767/*", "does not say which range"),
        ("", "does not say which range"),
    ] {
        let (_, error) = refused(move |request| Reply::range(request, &pattern()).with("content-range", range));
        says(&error, &[word]);
    }
    let (_, error) = refused(|request| Reply::range(request, &pattern()).truncated(100));
    says(&error, &["sends 100 bytes where 32768 were expected"]);
    let (_, error) = refused(|request| Reply::range(request, &pattern()).with("content-encoding", "gzip"));
    says(&error, &["encoded as \"gzip\""]);
}

#[test]
fn a_file_that_changes_is_an_error() {
    for header in ["etag", "last-modified"] {
        let (_, error) = refused(move |request| {
            let mark = if request.before == 0 { "\"a\"" } else { "\"b\"" };
            Reply::range(request, &pattern()).without("etag").with(header, mark)
        });
        says(&error, &["changed while it was read"]);
        assert!(error.is_input());
    }
    let (_, error) = refused(|request| match request.before {
        0 => Reply::range(request, &pattern()),
        _ => Reply::range(request, &pattern()).without("etag"),
    });
    says(&error, &["changed while it was read"]);
    let (_, error) = refused(|request| match request.before {
        0 => Reply::range(request, &pattern()),
        _ => Reply::range(request, &pattern()[..600_000]),
    });
    says(&error, &["changed while it was read", "1080004", "600000"]);
    let (_, error) = refused(|request| match request.before {
        0 => Reply::range(request, &pattern()),
        _ => Reply::range(request, b"short"),
    });
    says(&error, &["shorter now"]);
}

#[test]
fn what_may_pass_is_tried_again_and_then_told() {
    for reply in [Reply::status(500), Reply::status(429).with("retry-after", "0")] {
        let (server, file) = served(move |request| match request.before {
            0 | 3 | 4 => reply.clone(),
            _ => Reply::range(request, &pattern()),
        });
        let file = file.unwrap();
        assert_eq!(server.requests().len(), 2);
        file.bytes(200_000, 4).unwrap();
        file.bytes(500_000, 4).unwrap();
        assert_eq!(server.requests().len(), 6);
    }
    let (server, error) = refused(|_| Reply::status(503));
    says(&error, &["503", "4 tries"]);
    assert!(error.is_io());
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_body_that_breaks_off_is_asked_for_again() {
    let (server, file) = served(|request| {
        let reply = Reply::range(request, &pattern());
        if request.before % 2 == 1 { reply.cut(1000) } else { reply }
    });
    let file = file.unwrap();
    assert_eq!(*file.bytes(700_000, 5).unwrap(), pattern()[700_000..700_005]);
    assert_eq!(server.requests().len(), 3);
    let (server, error) = refused(|request| Reply::range(request, &pattern()).cut(1000));
    says(&error, &["broke after 1000 bytes", "4 tries"]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_silent_server_is_not_waited_for_and_retry_after_has_a_cap() {
    let server = Server::start(|request| {
        if request.path == "/slow" {
            Reply::range(request, &pattern()).after(Duration::from_secs(20))
        } else {
            Reply::status(429).with("retry-after", "86400")
        }
    });
    let network = Network::new(Limits {
        tries: 2,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        silence: Duration::from_millis(50),
        ..Limits::default()
    });
    let start = Instant::now();
    says(&HttpFile::open(&network, &server.url("/slow")).unwrap_err(), &["in time", "2 tries"]);
    says(&HttpFile::open(&network, &server.url("/busy")).unwrap_err(), &["429", "2 tries"]);
    assert!(start.elapsed() < Duration::from_secs(5));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = HttpFile::open(&network, &format!("http://{nobody}/x?sig=secret")).unwrap_err();
    says(&error, &["no connection"]);
    assert!(error.is_io() && !error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_refusal_is_final() {
    for (status, word, is_input) in [(404, "there is no", true), (401, "does not allow", false), (418, "418", false)] {
        let (server, error) = refused(move |_| Reply::status(status));
        says(&error, &[word]);
        assert_eq!((server.requests().len(), error.is_input()), (1, is_input));
    }
}

#[test]
fn redirects_end_and_lead_to_no_unsafe_place() {
    let (_, error) = refused(|_| Reply::status(302).with("location", "/x.safetensors"));
    says(&error, &["more than 8 redirects"]);
    for to in ["http://example.org/x?sig=secret", "ftp://127.0.0.1/x", "https://u:secret@example.org/x"] {
        let (_, error) = refused(move |_| Reply::status(307).with("location", to));
        says(&error, &["redirected"]);
        assert!(error.is_input());
    }
    let (_, error) = refused(|_| Reply::status(302).with("location", "http://["));
    says(&error, &["redirects to no address"]);
}

#[test]
fn a_token_stays_with_its_server_and_a_signed_address_is_renewed() {
    let store = Server::start(|request| {
        // Signatures of the first redirect are good for the opening only.
        if request.path == "/blob?sig=0" && request.before > 0 {
            return Reply::status(403);
        }
        Reply::range(request, &pattern()).with("etag", &format!("{:?}", request.path))
    });
    let to = store.url("/blob?sig=");
    let hub = Server::start(move |request| {
        let reply = Reply::status(302).with("location", &format!("{to}{}", request.before));
        reply.with("x-linked-etag", "\"sha\"")
    });
    let url = Url::parse(&hub.url("/x")).unwrap();
    let credential = Credential::bearer("secret", &url);
    let file = HttpFile::find(&network(), &url, credential.as_ref(), "x").unwrap().unwrap();
    for offset in [100_000, 500_000, 900_000] {
        let at = usize::try_from(offset).unwrap();
        assert_eq!(*file.bytes(offset, 9).unwrap(), pattern()[at..at + 9]);
    }
    assert_eq!(hub.requests().len(), 2, "opened, and renewed once");
    assert!(hub.requests().iter().all(|request| request.headers["authorization"] == "Bearer secret"));
    assert_eq!(store.requests().len(), 5);
    assert!(store.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn what_is_kept_is_fetched_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let server = Server::start(move |request| {
        let bytes = pattern();
        let (first, last) = request.range().unwrap_or((0, bytes.len() - 1));
        count.fetch_add(last.min(bytes.len() - 1) + 1 - first, Ordering::Relaxed);
        Reply::range(request, &bytes).with("etag", "\"one\"")
    });
    let keeping = || {
        let keep = Some(folder.path().to_owned());
        Network::new(Limits { block: 64 << 10, blocks: 2, keep, ..Limits::default() })
    };
    let bytes = pattern();
    let file = HttpFile::open(&keeping(), &server.url("/x.safetensors")).unwrap();
    for _ in 0..3 {
        // Several passes in pieces, with room for two of seventeen blocks.
        for at in (0..bytes.len()).step_by(100_000) {
            let length = 100_000.min(bytes.len() - at);
            assert_eq!(&*file.bytes(at as u64, length).unwrap(), &bytes[at..at + length]);
        }
    }
    assert_eq!(sent.load(Ordering::Relaxed), bytes.len(), "three passes, every byte once");
    // A later one asks for the beginning alone, to see that it is the same file.
    let again = HttpFile::open(&keeping(), &server.url("/x.safetensors")).unwrap();
    assert_eq!(&*again.bytes(0, bytes.len()).unwrap(), &*bytes);
    assert_eq!(sent.load(Ordering::Relaxed), bytes.len() + 32_768);
    // A block that was cut is fetched anew.
    let kept = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path().join("3");
    std::fs::write(&kept, b"cut").unwrap();
    let again = HttpFile::open(&keeping(), &server.url("/x.safetensors")).unwrap();
    assert_eq!(&*again.bytes(0, bytes.len()).unwrap(), &*bytes);
    assert_eq!(sent.load(Ordering::Relaxed), bytes.len() + 2 * 32_768 + 65_536);
}

/// Ranges of a file: nothing between them is fetched, they come in blocks, and once.
#[test]
fn of_a_drawn_file_nothing_else_is_fetched() {
    let bytes = pattern();
    let (server, file) = served(move |request| Reply::range(request, &pattern()));
    let file: Arc<dyn Blob> = Arc::new(file.unwrap());
    // From within the first bytes, small and large ones, and up to the end.
    let end = bytes.len() as u64;
    let ranges = [20_000..40_000, 100_000..100_010, 300_000..500_000, end - 7..end];
    let drawn = crate::DrawnFile::of(&file, &ranges).unwrap();
    let whole: Vec<u8> = ranges.iter().flat_map(|r| bytes[index(r.start)..index(r.end)].to_vec()).collect();
    for _ in 0..3 {
        assert_eq!(&*drawn.bytes(0, whole.len()).unwrap(), &whole[..]);
        assert_eq!(&*drawn.bytes(19_995, 20).unwrap(), &whole[19_995..20_015]);
    }
    let sent: u64 = server
        .requests()
        .iter()
        .filter_map(Request::range)
        .map(|(first, last)| (last as u64).min(end - 1) + 1 - first as u64)
        .sum();
    assert_eq!(sent, FIRST + 40_000 - FIRST + 10 + 200_000 + 7);
    assert!(drawn.bytes(whole.len() as u64, 1).is_err());
}

/// A server of its own: after a head whatever `pour` sends, as long as somebody reads.
fn pouring(head: &'static str, pour: fn(&mut std::net::TcpStream) -> std::io::Result<()>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/x.safetensors", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ =
                    stream.write_all(head.as_bytes()).and_then(|()| (0..1_000_000).try_for_each(|_| pour(&mut stream)));
            });
        }
    });
    base
}

/// Whoever lies in a head, drips or never ends is given up in seconds, and holds no memory.
#[test]
fn a_server_that_drips_or_never_ends_is_given_up() {
    use std::io::Write;
    const DRIP: fn(&mut std::net::TcpStream) -> std::io::Result<()> = |stream| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"x")
    };
    let part = "HTTP/1.1 206 x\r\ncontent-range: bytes 0-32767/1080004\r\netag: \"one\"\r\n";
    for (more, pour, word) in [
        ("content-length: 32768\r\n\r\n", DRIP, "too slow"),
        ("content-length: 99999999999\r\n\r\n", DRIP, "sends 99999999999 bytes where 32768 were expected"),
        ("content-length: 12\r\n\r\n", DRIP, "sends 12 bytes where 32768 were expected"),
        ("\r\n", |stream: &mut std::net::TcpStream| stream.write_all(&[7; 4096]), "sends more than 32768 bytes"),
        (
            "transfer-encoding: chunked\r\n\r\n",
            |stream: &mut std::net::TcpStream| {
                stream
                    .write_all(b"1000\r\n")
                    .and_then(|()| stream.write_all(&[7; 4096]))
                    .and_then(|()| stream.write_all(b"\r\n"))
            },
            "sends more than 32768 bytes",
        ),
    ] {
        let head: &'static str = Box::leak(format!("{part}{more}").into_boxed_str());
        let start = Instant::now();
        let error = HttpFile::open(&network(), &pouring(head, pour)).unwrap_err();
        says(&error, &[word]);
        assert!(start.elapsed() < Duration::from_secs(10), "{word}: {:?}", start.elapsed());
    }
    // A head that never ends.
    let start = Instant::now();
    let error = HttpFile::open(
        &network(),
        &pouring("HTTP/1.1 206 x\r\n", |stream| {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(b"a: b\r\n")
        }),
    );
    assert!(error.is_err() && start.elapsed() < Duration::from_secs(10), "{error:?} {:?}", start.elapsed());
}
