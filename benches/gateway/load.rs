//! The load: keep-alive connections, a fixed number of requests or a fixed rate. Status and length of every answer are
//! checked; anything but a whole 200 stops the run.

use std::{
    io::{Read, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::LocalSet,
};

use crate::origin::{LARGE, SMALL, find};

/// Requests, each with the length of the body that answers it.
pub type Requests = Rc<Vec<Request>>;

/// One request as it goes over the wire.
#[derive(Clone)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub large: bool,
}

impl Request {
    pub fn wanted(&self) -> usize {
        if self.large { LARGE } else { SMALL }
    }
}

/// Connections that are kept from run to run.
pub struct Load {
    runtime: Runtime,
    streams: Vec<TcpStream>,
}

impl Load {
    /// Connects.
    pub fn new(port: u16, connections: usize) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let streams = runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..connections {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                streams.push(stream);
            }
            streams
        });
        Load { runtime, streams }
    }

    /// So many requests, the listed ones over and over, on all connections as fast as answers come.
    pub fn run(&mut self, requests: &Requests, count: usize) {
        let local = LocalSet::new();
        let next = Rc::new(std::cell::Cell::new(0));
        let tasks: Vec<_> = self
            .streams
            .drain(..)
            .map(|mut stream| {
                let (next, requests) = (Rc::clone(&next), Rc::clone(requests));
                local.spawn_local(async move {
                    let mut buffer = Vec::with_capacity(80 << 10);
                    while next.get() < count {
                        let number = next.get();
                        next.set(number + 1);
                        let request = &requests[number % requests.len()];
                        stream.write_all(&request.bytes).await.unwrap();
                        buffer.clear();
                        while !whole(&buffer, request.wanted()) {
                            assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "hung up");
                        }
                    }
                    stream
                })
            })
            .collect();
        self.streams = local.block_on(&self.runtime, async {
            let mut streams = Vec::new();
            for task in tasks {
                streams.push(task.await.unwrap());
            }
            streams
        });
    }
}

/// Whether this is a whole answer with a body of that length.
pub fn whole(buffer: &[u8], wanted: usize) -> bool {
    // Far less than one head is read at a time, so scanning from the front is cheap.
    let Some(end) = find(&buffer[..buffer.len().min(4 << 10)], b"\r\n\r\n") else { return false };
    assert!(
        buffer.starts_with(b"HTTP/1.1 200 "),
        "refused: {}",
        String::from_utf8_lossy(&buffer[..buffer.len().min(1200)])
    );
    let got = buffer.len() - end - 4;
    assert!(got <= wanted, "a longer body than was asked for");
    got == wanted
}

/// So many requests at so many a second, over so many connections, each on a thread and schedule of its own;
/// microseconds of each. A request that could not start in time counts from when it should have.
pub fn at_rate(port: u16, connections: usize, request: &Request, rate: usize, count: usize) -> Vec<f64> {
    // Sleeps end when they should, not up to 50 µs later.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
    let begin = Instant::now() + Duration::from_millis(50);
    let step = Duration::from_secs_f64(connections as f64 / rate as f64);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let request = request.clone();
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let _ = std::fs::write("/proc/thread-self/timerslack_ns", "1");
                let mut buffer = vec![0; 80 << 10];
                let mut took = Vec::new();
                let mut due = begin + step.mul_f64(number as f64 / connections as f64);
                for _ in 0..count / connections {
                    let now = Instant::now();
                    let start = if due > now {
                        std::thread::sleep(due - now);
                        Instant::now()
                    } else {
                        due
                    };
                    stream.write_all(&request.bytes).unwrap();
                    let mut len = 0;
                    while !whole(&buffer[..len], request.wanted()) {
                        let read = stream.read(&mut buffer[len..]).unwrap();
                        assert_ne!(read, 0, "hung up");
                        len += read;
                    }
                    took.push(start.elapsed().as_secs_f64() * 1e6);
                    due += step;
                }
                took
            })
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}
