//! One side of an exchange as bytes: a TCP connection, a Unix socket, TLS over either, a stream of HTTP/2 on either side. What every kind can do stands here:
//! reading, writing, being split, being reset, saying whether the other side has gone. Never here: what the bytes mean.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{client, server};

use super::{http2::Stream, onward::Onward, records::Records};

/// What the kernel may hold unsent towards staff, in bytes: until a cut it goes on sending what it has (law 6).
const UNSENT: u32 = 16 << 10;
/// The same towards everybody else: what a client does not read stays with the application, not in the memory that all
/// connections of this machine share. Who reads as it comes never has as much waiting.
const UNSENT_TO_ANYBODY: u32 = 64 << 10;

/// See the module's header.
pub(super) enum Socket {
    /// Bytes as they are.
    Tcp(TcpStream),
    /// The same, to an application on this machine.
    Unix(UnixStream),
    /// A client over TLS.
    Client(Box<server::TlsStream<TcpStream>>),
    /// An application over TLS.
    Application(Box<client::TlsStream<Records>>),
    /// One stream of a client's HTTP/2 connection.
    Stream(Box<Stream>),
    /// One stream of a connection of HTTP/2 to an application.
    Onward(Box<Onward>),
}

/// What a socket of any kind is to the kernel.
enum Kernel<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
}

impl Socket {
    /// `None` of a stream: its connection is not its own.
    fn kernel(&self) -> Option<Kernel<'_>> {
        match self {
            Socket::Tcp(stream) => Some(Kernel::Tcp(stream)),
            Socket::Unix(stream) => Some(Kernel::Unix(stream)),
            Socket::Client(stream) => Some(Kernel::Tcp(stream.get_ref().0)),
            Socket::Application(stream) => Some(Kernel::Tcp(stream.get_ref().0.stream())),
            Socket::Stream(_) | Socket::Onward(_) => None,
        }
    }

    /// Whether an application has proved that it did nothing with the request that was sent.
    pub(super) fn is_unprocessed(&self) -> bool {
        matches!(self, Socket::Onward(stream) if stream.is_unprocessed())
    }

    /// No answer came in time: whether the application is still there should be looked into.
    pub(super) fn doubt(&self) {
        if let Socket::Onward(stream) = self {
            stream.doubt();
        }
    }

    /// Takes back what can be of a request, before it is said that nothing more of it leaves.
    pub(super) async fn retract(&mut self) {
        if let Socket::Onward(stream) = self {
            stream.retract().await;
        }
    }

    /// Lets go of it after an answer that is whole.
    pub(super) fn rest(self) {
        if let Socket::Onward(stream) = self {
            stream.rest();
        }
    }

    /// Waits until there may be something to read, holding no buffer.
    pub(super) async fn readable(&self) -> io::Result<()> {
        // What TLS has decrypted already, the kernel knows nothing of.
        if let Socket::Client(stream) = self
            && !stream.get_ref().1.wants_read()
        {
            return Ok(());
        }
        match self.kernel() {
            Some(Kernel::Tcp(stream)) => stream.readable().await,
            Some(Kernel::Unix(stream)) => stream.readable().await,
            // Its request was there before it was, or it is over.
            None => Ok(()),
        }
    }

    /// Whether nothing has come that nobody asked for, not even the end. The kernel is asked, not the runtime: of what came
    /// since it last looked, the runtime knows nothing. Of what TLS has taken in already, the kernel knows nothing.
    pub(super) fn is_quiet(&mut self) -> bool {
        if !self.tls_holds_nothing() {
            return false;
        }
        let mut byte = [MaybeUninit::uninit(); 1];
        let peeked = match self.kernel() {
            Some(Kernel::Tcp(stream)) => socket2::SockRef::from(stream).peek(&mut byte),
            Some(Kernel::Unix(stream)) => socket2::SockRef::from(stream).peek(&mut byte),
            // Never kept for another request.
            None => return false,
        };
        match peeked {
            Err(fault) => fault.kind() == io::ErrorKind::WouldBlock,
            Ok(0) => false,
            // TLS has messages of its own between answers, such as tickets; only plaintext was not asked for.
            Ok(_) => self.only_tls_came(),
        }
    }

    fn only_tls_came(&mut self) -> bool {
        let Socket::Application(stream) = self else { return false };
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut **stream).poll_read(&mut cx, &mut byte).is_pending() && self.tls_holds_nothing()
    }

    /// Neither plaintext that nobody has read, nor the beginning of a record, of which nobody can know what it will say.
    fn tls_holds_nothing(&self) -> bool {
        let Socket::Application(stream) = self else { return true };
        let (records, session) = stream.get_ref();
        session.wants_read() && records.are_whole()
    }

    /// How much the kernel has taken below TLS towards an application: a write that failed may have sent something.
    pub(super) fn taken_below(&self) -> u64 {
        match self {
            Socket::Application(stream) => stream.get_ref().0.taken(),
            _ => 0,
        }
    }

    /// Whether the other side has said that it sends no more, or is gone.
    pub(super) fn hung_up(&self) -> bool {
        if let Socket::Stream(stream) = self {
            return stream.hung_up();
        }
        let asked = PollFlags::RDHUP;
        let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let look = |mut fds: [PollFd<'_>; 1]| {
            let found = poll(&mut fds, Some(&at_once));
            let [fd] = &fds;
            // What cannot be asked any more is gone.
            found.is_err() || fd.revents().intersects(ended)
        };
        match self.kernel() {
            Some(Kernel::Tcp(stream)) => look([PollFd::new(stream, asked)]),
            Some(Kernel::Unix(stream)) => look([PollFd::new(stream, asked)]),
            None => false,
        }
    }

    /// Whether this is to become a tunnel, and answers its client nothing else that means success.
    pub(super) fn must_switch(&self) -> bool {
        matches!(self, Socket::Stream(stream) if stream.must_switch())
    }

    /// Whether TLS towards a client holds bytes that the kernel has not taken.
    pub(super) fn holds_unsent(&self) -> bool {
        matches!(self, Socket::Client(stream) if stream.get_ref().1.wants_write())
    }

    /// Has the kernel take little more than it can send. Of a stream: it is one that can be cut.
    pub(super) fn keep_little_unsent(&self) {
        if let Socket::Stream(stream) = self {
            stream.may_be_cut();
        }
        self.keep_unsent(UNSENT);
    }

    /// Has the kernel take no more than somebody who reads slowly should hold.
    pub(super) fn bound_unsent(&self) {
        self.keep_unsent(UNSENT_TO_ANYBODY);
    }

    fn keep_unsent(&self, most: u32) {
        if let Some(Kernel::Tcp(stream)) = self.kernel() {
            // Where the system has no such bound, the reset still drops what is held.
            let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(most);
        }
    }

    /// Makes the drop a reset, of the connection or of the one stream: what was not sent is not sent any more. (A Unix socket has nothing under
    /// way that its peer could not read at once.)
    pub(super) fn reset_on_drop(&self) {
        if let Socket::Stream(stream) = self {
            stream.reset_on_drop();
        }
        if let Some(Kernel::Tcp(stream)) = self.kernel() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Both directions at once, within one task.
    pub(super) fn split(&mut self) -> Both<'_> {
        Both(RefCell::new(self))
    }
}

/// A socket of which both directions are used at once.
pub(super) struct Both<'a>(RefCell<&'a mut Socket>);

impl<'a> Both<'a> {
    /// One direction; each is taken once.
    pub(super) fn half(&self) -> Half<'_, 'a> {
        Half(&self.0)
    }
}

/// One direction of a socket. Borrowed for one poll at a time, never across a wait.
pub(super) struct Half<'b, 'a>(&'b RefCell<&'a mut Socket>);

impl Half<'_, '_> {
    /// See [`Socket::hung_up`].
    pub(super) fn hung_up(&self) -> bool {
        self.0.borrow().hung_up()
    }

    /// Ready when there may be something to read, its end included; costs no call of the system. Of streams of HTTP/2, which
    /// cannot be asked, always.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.0.borrow();
        // What TLS has decrypted already, the kernel knows nothing of.
        let decrypted = match &**socket {
            Socket::Client(stream) => !stream.get_ref().1.wants_read(),
            Socket::Application(stream) => !stream.get_ref().1.wants_read(),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Stream(_) | Socket::Onward(_) => false,
        };
        match socket.kernel().filter(|_| !decrypted) {
            Some(Kernel::Tcp(stream)) => stream.poll_read_ready(cx).map(drop),
            Some(Kernel::Unix(stream)) => stream.poll_read_ready(cx).map(drop),
            None => Poll::Ready(()),
        }
    }
}

impl AsyncRead for Half<'_, '_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Half<'_, '_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self.0.borrow_mut()).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.borrow_mut()).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Client(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Socket::Application(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Socket::Stream(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Socket::Onward(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Client(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Socket::Application(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Socket::Stream(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Socket::Onward(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Client(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Socket::Application(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Socket::Stream(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Socket::Onward(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Client(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Socket::Application(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Socket::Stream(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Socket::Onward(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Client(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Socket::Application(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Socket::Stream(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Socket::Onward(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
