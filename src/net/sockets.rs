//! Names into addresses, addresses into sockets. Names are resolved again whenever they are used: the host behind a name
//! may move, and in containers it does. Where that fails, or takes long, what a name meant last has to do, as in the
//! reference: an ensemble should outlive its name service.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long one address of a server is tried alone before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(100);
/// How long other addresses are waited for once one has failed: enough for a lost packet.
const OTHERS_MAX: Duration = Duration::from_secs(2);
/// How long to look for a name that has been found before.
const LOOK_UP_MAX: Duration = Duration::from_secs(1);
/// Names that are kept; more than any ensemble has.
const KNOWN_MAX: usize = 1024;
/// Connections of servers that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Connects to whichever of the addresses, `host:port` each, answers first; earlier ones have a head start.
///
/// # Errors
/// Those of the last one that failed, or that nothing came of it within `patience`.
pub(super) async fn connect(addresses: &[String], patience: Duration) -> io::Result<TcpStream> {
    let for_names = LOOK_UP_MAX.min(patience / 2);
    connect_by(move |address| resolve(address, for_names), addresses, patience).await
}

/// The same with any way to resolve names.
async fn connect_by<R, F>(resolve: R, addresses: &[String], patience: Duration) -> io::Result<TcpStream>
where
    R: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    for (before, address) in (0..).zip(addresses.iter().cloned()) {
        let resolve = resolve.clone();
        attempts.spawn(async move {
            if before > 0 {
                sleep(HEAD_START * before).await;
            }
            connect_one(resolve(address).await?, patience).await
        });
    }
    let first = async {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the configuration does not name that server");
        let mut until = None;
        loop {
            let next = attempts.join_next();
            let next = match until {
                Some(until) => timeout_at(until, next).await.unwrap_or(None),
                None => next.await,
            };
            match next.map(|attempt| attempt.map_err(io::Error::other).flatten()) {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            }
            // Where one was refused somebody may listen soon: no need to wait for another one that does not answer at all.
            until = until.or_else(|| Some(Instant::now() + OTHERS_MAX));
        }
    };
    let stream = timeout(patience, first).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Of one name with several addresses each gets its share of the time.
async fn connect_one(resolved: Vec<SocketAddr>, patience: Duration) -> io::Result<TcpStream> {
    let patience = patience / u32::try_from(resolved.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = nameless();
    for address in resolved {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(late) => failure = late.into(),
        }
    }
    Err(failure)
}

/// What names meant last.
static KNOWN: Known = Known(Mutex::new(BTreeMap::new()));

/// The addresses of `host:port`. If the host was found before, that will do after `patience`.
async fn resolve(address: String, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
    let port = port.parse().map_err(|_| io::Error::other(format!("there is no port in {address}")))?;
    let found = KNOWN.resolve(look_up(host.to_owned()), host, patience).await;
    let hosts = found.map_err(|error| io::Error::new(error.kind(), format!("cannot resolve {address}: {error}")))?;
    Ok(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect())
}

/// Remembers what the names of a server that is reached mean, so that it can be reached without a name service.
pub(super) async fn remember(addresses: Vec<String>) {
    for address in addresses {
        let _later = resolve(address, LOOK_UP_MAX).await;
    }
}

/// The addresses of a host now, those of IPv4 first, as Java has them.
async fn look_up(host: String) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<_> = lookup_host((host.trim_matches(['[', ']']), 0)).await?.map(|found| found.ip()).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    if found.is_empty() { Err(nameless()) } else { Ok(found) }
}

/// What names meant.
struct Known(Mutex<BTreeMap<String, Vec<IpAddr>>>);

impl Known {
    async fn resolve(
        &'static self,
        look_up: impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
        host: &str,
        patience: Duration,
    ) -> io::Result<Vec<IpAddr>> {
        let known = self.0.lock().get(host).cloned();
        let name = host.to_owned();
        // An answer that comes too late for this time is there for the next.
        let looking = tokio::spawn(async move { look_up.await.inspect(|found| self.note(name, found)) });
        let Some(known) = known else { return looking.await.map_err(io::Error::other)? };
        let found = timeout(patience, looking).await.map_err(io::Error::from);
        found.and_then(|found| found.map_err(io::Error::other)?).or_else(|error| {
            tracing::warn!(host, %error, ?known, "a name is not found any more; going on with what it meant");
            Ok(known)
        })
    }

    fn note(&self, host: String, found: &[IpAddr]) {
        let mut known = self.0.lock();
        if known.len() < KNOWN_MAX || known.contains_key(&host) {
            known.insert(host, found.to_vec());
        }
    }
}

fn nameless() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// Listens on `host:port`: on the first address of that name that can be had. `backlog` is -1 for the system's own.
///
/// # Errors
/// Those of the last one.
pub(crate) async fn listen_on(address: &str, backlog: i32) -> io::Result<TcpListener> {
    let mut failure = nameless();
    for resolved in resolve(address.to_owned(), LOOK_UP_MAX).await? {
        match bind(resolved).and_then(|socket| listening(socket, backlog)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether one could listen there: nobody else does.
///
/// # Errors
/// Those of the last address of that name.
pub(super) async fn find_free(address: &str) -> io::Result<()> {
    let mut failure = nameless();
    for resolved in resolve(address.to_owned(), LOOK_UP_MAX).await? {
        match bind(resolved) {
            Ok(_unused) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Listens for other servers. Whoever cannot is told what to do about it (EN-10).
///
/// # Errors
/// Those of the last address.
pub(super) async fn listen_for_servers(address: &str) -> io::Result<TcpListener> {
    let advise = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => error,
        kind => {
            let advice =
                "if others reach this host under an address that it does not have, set quorumListenOnAllIPs=true";
            io::Error::new(kind, format!("{error}; {advice}"))
        }
    };
    listen_on(address, BACKLOG).await.map_err(advise)
}

/// Listens at all `places` until there are others, and then at those: what `at` does at one of them ends before.
pub(super) async fn keep_listening<F>(mut places: watch::Receiver<Vec<String>>, at: impl Fn(String) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut listeners = JoinSet::new();
        for place in places.borrow_and_update().clone() {
            listeners.spawn(at(place));
        }
        if places.changed().await.is_err() {
            return;
        }
        listeners.shutdown().await;
    }
}

/// Where there is no IPv6, all addresses are those of IPv4.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let all_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match bind_to(address) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse && address.ip() == Ipv6Addr::UNSPECIFIED => {
            bind_to(all_v4)
        }
        bound => bound,
    }
}

fn bind_to(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Both families come in on the wildcard address, as with Java's sockets.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(socket: Socket, backlog: i32) -> io::Result<TcpListener> {
    socket.listen(if backlog > 0 { backlog } else { 4096 })?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = listen_on("127.0.0.1:0", -1).await.expect("listens");
        let address = listener.local_addr().expect("has one");
        (listener, address)
    }

    /// Nobody listens there any more, and no connection goes out from there: those have higher ports.
    async fn gone() -> SocketAddr {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = 20_000 + (std::process::id() % 100 * 100) as u16;
        loop {
            let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
            if listen_on(&format!("0.0.0.0:{port}"), -1).await.is_ok() {
                return ([127, 0, 0, 1], port).into();
            }
        }
    }

    /// Names that mean what the test says.
    #[derive(Clone, Default)]
    struct Names(Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>);

    impl Names {
        fn move_to(&self, name: &str, addresses: &[SocketAddr]) {
            self.0.lock().insert(name.to_owned(), addresses.to_vec());
        }

        async fn connect(&self, addresses: &[&str]) -> io::Result<SocketAddr> {
            let names = self.clone();
            let resolve = move |name: String| {
                let found = names.0.lock().get(&name).cloned();
                async move { found.ok_or_else(nameless) }
            };
            let addresses: Vec<_> = addresses.iter().map(|&address| address.to_owned()).collect();
            connect_by(resolve, &addresses, PATIENCE).await?.peer_addr()
        }
    }

    #[test]
    fn a_host_that_has_moved_is_found_under_its_name() {
        run(async {
            let (names, (_first, here), (_second, there)) = (Names::default(), listener().await, listener().await);
            assert!(names.connect(&["zk1:2888"]).await.is_err(), "there is no such name yet");
            names.move_to("zk1:2888", &[here]);
            assert_eq!(names.connect(&["zk1:2888"]).await.expect("connects"), here);
            names.move_to("zk1:2888", &[there]);
            assert_eq!(names.connect(&["zk1:2888"]).await.expect("connects"), there);
        });
    }

    #[test]
    fn a_name_service_that_is_gone_takes_no_name_with_it() {
        run(async {
            let known: &'static Known = Box::leak(Box::new(Known(Mutex::default())));
            let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| vec![ip.parse::<IpAddr>().expect("an address")]);
            let resolve = |found: Option<&Vec<IpAddr>>| {
                known.resolve(std::future::ready(found.cloned().ok_or_else(nameless)), "zk1", PATIENCE)
            };
            assert!(resolve(None).await.is_err(), "it never meant anything");
            assert_eq!(resolve(Some(&here)).await.expect("found"), here);
            assert_eq!(resolve(None).await.expect("known"), here);
            let (say, late) = tokio::sync::oneshot::channel();
            let slow = async { late.await.map_err(io::Error::other) };
            assert_eq!(known.resolve(slow, "zk1", Duration::ZERO).await.expect("known"), here);
            say.send(there.clone()).expect("somebody waits");
            tokio::task::yield_now().await;
            assert_eq!(resolve(None).await.expect("known since"), there);
            let other = known.resolve(std::future::ready(Err(nameless())), "zk2", PATIENCE).await;
            assert!(other.is_err());
        });
    }

    #[test]
    fn any_address_that_answers_will_do() {
        run(async {
            let (names, dead, (_listener, alive)) = (Names::default(), gone().await, listener().await);
            names.move_to("dead", &[dead]);
            names.move_to("mixed", &[dead, alive]);
            names.move_to("alive", &[alive]);
            for addresses in [&["mixed"] as &[_], &["dead", "alive"], &["nowhere", "dead", "alive"], &["alive", "dead"]]
            {
                assert_eq!(names.connect(addresses).await.expect("connects"), alive, "{addresses:?}");
            }
            assert_eq!(names.connect(&["dead"]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            assert!(names.connect(&[]).await.unwrap_err().to_string().contains("does not name that server"));
        });
    }

    #[test]
    fn who_does_not_have_its_own_address_is_told_what_to_do() {
        run(async {
            let elsewhere =
                listen_for_servers("192.0.2.1:0").await.expect_err("not an address of this host").to_string();
            assert!(elsewhere.contains("set quorumListenOnAllIPs=true"), "{elsewhere}");
            let nowhere = listen_for_servers("nowhere.invalid:1").await.expect_err("no such name").to_string();
            assert!(nowhere.starts_with("cannot resolve nowhere.invalid:1: "), "{nowhere}");
            assert!(nowhere.contains("set quorumListenOnAllIPs=true"), "{nowhere}");
            let (_listener, taken) = listener().await;
            let taken = listen_for_servers(&taken.to_string()).await.expect_err("taken").to_string();
            assert!(!taken.contains("quorumListenOnAllIPs"), "{taken}");
        });
    }

    #[test]
    fn listeners_move_and_leave_nothing_behind() {
        run(async {
            let (first, second) = (gone().await, gone().await);
            let (places, wanted) = watch::channel(vec![first.to_string()]);
            let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
            let keeping = tokio::spawn(keep_listening(wanted, move |place| {
                let say = say.clone();
                async move {
                    let _listener = listen_on(&place, -1).await.expect("listens");
                    let _unheard = say.send(place);
                    std::future::pending::<()>().await;
                }
            }));
            assert_eq!(said.recv().await, Some(first.to_string()));
            // The old place is free again before the new one is taken, so that a port may stay and its host change.
            places.send_replace(vec![format!("0.0.0.0:{}", first.port()), second.to_string()]);
            let both = [said.recv().await, said.recv().await];
            assert!(both.contains(&Some(second.to_string())), "{both:?}");
            places.send_replace(Vec::new());
            drop(places);
            keeping.await.expect("ends");
            assert!(TcpStream::connect(second).await.is_err());
        });
    }
}
