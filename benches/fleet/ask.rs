//! Somebody who asks, one request after another on one connection.
//!
//! Never here: who.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, inbox: Vec::new() }
    }

    /// The status of the answer, which is read whole.
    pub fn get(&mut self, path: &str, token: &str) -> u16 {
        let asking =
            format!("GET {path} HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.stream.write_all(asking.as_bytes()).unwrap();
        self.inbox.clear();
        loop {
            let mut piece = [0; 8192];
            let count = self.stream.read(&mut piece).unwrap();
            assert!(count > 0, "the connection was closed");
            self.inbox.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&self.inbox);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            if body.len() >= length.expect("an answer says how long it is") {
                return head.split(' ').nth(1).unwrap().parse().unwrap();
            }
        }
    }
}

/// Median and 99th percentile.
pub fn quantiles(mut all: Vec<f64>) -> [f64; 2] {
    all.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|of| all[((all.len() - 1) as f64 * of).round() as usize])
}
