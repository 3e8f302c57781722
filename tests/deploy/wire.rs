//! A client behind the balancer: it comes from the balancer's address and says in the header of the PROXY protocol who it is.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
};

use socket2::{Domain, Socket, Type};

use super::client::{Client, PATIENCE, Reply};

/// Who the client is, for the gateways.
pub const CLIENT: &str = "203.0.113.7";

/// A connection as the balancer opens one; none where nobody listens.
pub fn connect(balancer: Ipv4Addr, gateway: Ipv4Addr) -> Option<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((balancer, 0)).into()).unwrap();
    socket.connect(&SocketAddrV4::new(gateway, 8080).into()).ok()?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client { stream, inbox: Vec::new() };
    client.send(format!("PROXY TCP4 {CLIENT} 198.51.100.1 40000 8080\r\n"));
    Some(client)
}

pub fn request(method: &str, path: &str, who: &str, body: Option<&str>) -> String {
    let body = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let end = if body.is_empty() { "\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: app.example\r\n{who}\r\n{body}{end}")
}

/// What the operations listener answers, to whoever checks or scrapes.
pub fn operations(gateway: Ipv4Addr, path: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect(SocketAddrV4::new(gateway, 9090)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One that ends meanwhile answers nothing, or not all.
    write!(stream, "GET {path} HTTP/1.1\r\nHost: operations\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head: head.to_owned(), body: body.into() })
}
