//! In front of every decoy: connections are accepted, counted in, and told whose they are; bytes out are counted, by source and day.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use turncoat_decoys::auth::source_key;
use turncoat_decoys::ssh::{Meter, Passed, Peer, Ssh, serve as serve_ssh};
use turncoat_decoys::telnet::{Telnet, serve as serve_telnet};
use turncoat_event::Recorder;
use turncoat_wire::proxy;

use crate::config::Settings;
use crate::process::front::{Earlier, Ending, FrontIo};
use crate::process::{now, say};

/// A proxy names the source within this time.
const PROXY_TIME: Duration = Duration::from_secs(5);

/// Sources whose bytes of the day are counted; past it, the half with the fewest is forgotten.
const METERED: usize = 65_536;

/// Counts connections and bytes out, in all and by source.
pub(super) struct Door {
    settings: Arc<RwLock<Arc<Settings>>>,
    recorder: Arc<dyn Recorder>,
    all: AtomicUsize,
    by_source: Mutex<BTreeMap<IpAddr, u64>>,
    out: Mutex<BytesOut>,
}

impl Door {
    pub(super) fn new(io: &FrontIo) -> Door {
        let mut out = BytesOut::default();
        out.go_on(&io.recorder.earlier());
        Door {
            settings: io.settings.clone(),
            recorder: io.recorder.clone(),
            all: AtomicUsize::new(0),
            by_source: Mutex::default(),
            out: Mutex::new(out),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// True when connections from here begin with a PROXY header.
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.settings()
            .proxy
            .from
            .iter()
            .any(|n| n.0.contains(address.to_canonical()))
    }

    /// Lets a connection in, if there is room at all. Whose it is may still be unknown.
    fn enter(self: &Arc<Self>) -> Option<Inside> {
        let most = self.settings().limits.connections;
        if !self.recorder.accepting() || self.all.load(Ordering::Relaxed) as u64 >= most {
            return None;
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        Some(Inside {
            door: self.clone(),
            source: None,
        })
    }
}

impl Meter for Door {
    fn sent(&self, source: IpAddr, bytes: u64) -> Option<Passed> {
        let day = now().0.div_euclid(86_400_000_000_000);
        let (of_source, all) =
            self.out
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .count(day, source_key(source), bytes);
        let limits = &self.settings().limits;
        let bounds = [
            (
                of_source,
                limits.bytes_out_source_day.0,
                "bytes_out.source_day",
                "source",
            ),
            (all, limits.bytes_out_day.0, "bytes_out.day", "all"),
        ];
        bounds
            .into_iter()
            .find(|(have, most, ..)| have > most)
            .map(|(_, value, limit, scope)| Passed { limit, value, scope })
    }
}

/// Bytes out of one day (UTC).
#[derive(Default)]
struct BytesOut {
    day: i64,
    all: u64,
    by_source: HashMap<IpAddr, u64>,
}

impl BytesOut {
    /// Counts, and gives what the source and all have had on that day.
    fn count(&mut self, day: i64, source: IpAddr, bytes: u64) -> (u64, u64) {
        if day != self.day {
            *self = BytesOut {
                day,
                ..BytesOut::default()
            };
        }
        if self.by_source.len() >= METERED && !self.by_source.contains_key(&source) {
            // Half of them at once, so that a crowd of sources pays for the search seldom.
            let mut counts: Vec<u64> = self.by_source.values().copied().collect();
            let (_, median, _) = counts.select_nth_unstable(METERED / 2);
            let median = *median;
            let more = self.by_source.values().filter(|n| **n > median).count();
            let mut room = (METERED / 2).saturating_sub(more);
            self.by_source.retain(|_, n| {
                let fits = *n == median && room > 0;
                room -= usize::from(fits);
                fits || *n > median
            });
        }
        let of_source = self.by_source.entry(source).or_default();
        *of_source = of_source.saturating_add(bytes);
        self.all = self.all.saturating_add(bytes);
        (*of_source, self.all)
    }

    /// Takes over what an earlier process sent on its last day.
    fn go_on(&mut self, earlier: &[Earlier]) {
        let last = earlier.iter().map(|e| e.day).max();
        for e in earlier.iter().filter(|e| Some(e.day) == last) {
            self.count(e.day, source_key(e.source), e.bytes);
        }
    }
}

/// A connection that was let in, until it is dropped.
struct Inside {
    door: Arc<Door>,
    source: Option<IpAddr>,
}

impl Inside {
    /// Counts the connection as the source's; false when it has too many, or was sent too much today.
    fn is_of(&mut self, source: IpAddr) -> bool {
        if self.door.sent(source, 0).is_some() {
            return false;
        }
        let source = source_key(source);
        let most = self.door.settings().limits.connections_per_source;
        let mut map = self.door.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = map.entry(source).or_default();
        if *count < most {
            *count += 1;
            self.source = Some(source);
        } else if *count == 0 {
            map.remove(&source);
        }
        self.source.is_some()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.door.all.fetch_sub(1, Ordering::Relaxed);
        let Some(source) = self.source else { return };
        let mut map = self.door.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                map.remove(&source);
            }
        }
    }
}

/// What answers at a listener.
#[derive(Clone)]
pub(super) enum Service {
    Ssh(Arc<Ssh>),
    Telnet(Arc<Telnet>),
}

pub(super) async fn accept(listener: TcpListener, service: Service, door: Arc<Door>, ending: Ending) {
    let listener = match listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
    {
        Ok(listener) => listener,
        Err(error) => return say("front", &error.to_string()),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.told() => return,
        };
        let (mut stream, source) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                // Out of descriptors or memory: what is open goes on, and new ones wait.
                say("front", &format!("accept: {error}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let (Some(mut inside), Ok(local)) = (door.enter(), stream.local_addr()) else {
            continue;
        };
        let (service, ending, door) = (service.clone(), ending.clone(), door.clone());
        tokio::spawn(async move {
            if let Some(peer) = peer(&mut stream, &door, source, local).await
                && inside.is_of(peer.source.ip())
            {
                match service {
                    Service::Ssh(ssh) => serve_ssh(ssh, stream, peer, ending.told()).await,
                    Service::Telnet(telnet) => serve_telnet(telnet, stream, peer, ending.told()).await,
                };
            }
            drop(inside);
        });
    }
}

/// Who is at the other end: by the connection, or as a listed proxy says in its header. `None`: it said something else, or
/// nothing in time, and is closed without an answer, as the specification asks.
async fn peer(stream: &mut TcpStream, door: &Door, source: SocketAddr, local: SocketAddr) -> Option<Peer> {
    let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let direct = Peer {
        source: plain(source),
        local: plain(local),
        via: None,
    };
    if !door.is_proxy(source.ip()) {
        return Some(direct);
    }
    let read = async {
        let mut header = Vec::new();
        loop {
            // Byte by byte: what comes behind the header is the client's and stays in the socket.
            header.push(stream.read_u8().await.ok()?);
            match proxy::parse(&header) {
                Ok(header) => return Some(header),
                Err(proxy::Refused::More) if header.len() < proxy::LONGEST => {}
                Err(_) => return None,
            }
        }
    };
    let header = tokio::time::timeout(PROXY_TIME, read).await.ok()??;
    Some(match header.addresses {
        Some((from, to)) => Peer {
            source: plain(from),
            local: plain(to),
            via: Some(direct.source),
        },
        None => direct,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::{Committer, Item, Mark, Refused, Watermark};
    use turncoat_store::Source;

    struct Nothing(Watermark);

    impl Recorder for Nothing {
        fn submit(&self, _: Item) -> Result<Mark, Refused> {
            Ok(Mark::NONE)
        }
        fn watermark(&self) -> &Watermark {
            &self.0
        }
        fn accepting(&self) -> bool {
            true
        }
    }

    fn door(change: impl FnOnce(&mut Settings)) -> Arc<Door> {
        let mut settings = Settings::default();
        change(&mut settings);
        Arc::new(Door {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            recorder: Arc::new(Nothing(Committer::new().1)),
            all: AtomicUsize::new(0),
            by_source: Mutex::default(),
            out: Mutex::default(),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_source() {
        let door = door(|s| (s.limits.connections, s.limits.connections_per_source) = (3, 2));
        let enter = |source| {
            door.enter()
                .filter(|_| true)
                .and_then(|mut i| i.is_of(source).then_some(i))
        };
        let one = enter(ip("192.0.2.1")).unwrap();
        let two = enter(ip("192.0.2.1")).unwrap();
        assert!(enter(ip("192.0.2.1")).is_none(), "a third of one source");
        let three = enter(ip("192.0.2.2")).unwrap();
        assert!(enter(ip("192.0.2.3")).is_none(), "a fourth in all");
        drop((one, two, three));
        assert_eq!(door.all.load(Ordering::Relaxed), 0);
        assert!(door.by_source.lock().unwrap().is_empty());
        // An IPv6 /64 is one source.
        let _a = enter(ip("2001:db8::1")).unwrap();
        let _b = enter(ip("2001:db8::2")).unwrap();
        assert!(enter(ip("2001:db8::3")).is_none());
    }

    #[test]
    fn bytes_out_are_bounded_by_source_and_day() {
        let door = door(|s| (s.limits.bytes_out_source_day.0, s.limits.bytes_out_day.0) = (100, 150));
        assert_eq!(door.sent(ip("192.0.2.1"), 100), None);
        let passed = door.sent(ip("192.0.2.1"), 1).unwrap();
        assert_eq!(
            (passed.limit, passed.value, passed.scope),
            ("bytes_out.source_day", 100, "source")
        );
        assert!(
            !door.enter().unwrap().is_of(ip("192.0.2.1")),
            "no new connection on this day"
        );
        assert_eq!(door.sent(ip("192.0.2.2"), 49), None);
        assert_eq!(door.sent(ip("192.0.2.3"), 1).unwrap().limit, "bytes_out.day");

        let mut out = BytesOut::default();
        assert_eq!(out.count(1, ip("192.0.2.1"), 7), (7, 7));
        assert_eq!(out.count(2, ip("192.0.2.1"), 3), (3, 3), "a new day");

        // A crowd of sources: those that had most stay known.
        let mut crowd = BytesOut::default();
        for n in 0..200_000u32 {
            let big = n % 1000 == 0;
            crowd.count(
                1,
                std::net::Ipv4Addr::from(n).into(),
                if big { 1 << 20 } else { 2000 },
            );
            assert!(crowd.by_source.len() <= METERED);
        }
        let known = (0..200_000u32)
            .step_by(1000)
            .all(|n| crowd.count(1, std::net::Ipv4Addr::from(n).into(), 0).0 == 1 << 20);
        assert!(known, "a source that had much is still known");

        // A new process goes on where the one before was.
        let earlier = |day, source, bytes| Earlier {
            day,
            source: ip(source),
            bytes,
        };
        out.go_on(&[
            earlier(2, "192.0.2.1", 90),
            earlier(2, "2001:db8::1", 5),
            earlier(1, "192.0.2.1", 999),
        ]);
        assert_eq!(out.count(2, ip("192.0.2.1"), 1), (94, 99));
        assert_eq!(
            out.count(2, source_key(ip("2001:db8::2")), 1),
            (6, 100),
            "one /64 is one source"
        );
    }

    /// What `peer` says of a connection that begins with these bytes, and what is left for the protocol.
    async fn said(from: &str, bytes: &[u8]) -> Option<(Peer, Vec<u8>)> {
        let door = door(|s| {
            s.proxy
                .from
                .push(crate::config::value::Network(from.parse::<Source>().unwrap()))
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, bytes)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
        let (mut stream, source) = listener.accept().await.unwrap();
        let local = stream.local_addr().unwrap();
        let peer = peer(&mut stream, &door, source, local).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        Some((peer, rest))
    }

    #[test]
    fn a_proxy_header_counts_from_listed_networks_only() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let line = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 22\r\nSSH-2.0-x\r\n";
            let (peer, rest) = said("127.0.0.0/8", line).await.unwrap();
            assert_eq!(peer.source, "198.51.100.7:4711".parse().unwrap());
            assert_eq!(peer.local, "203.0.113.1:22".parse().unwrap());
            assert_eq!(peer.via.map(|v| v.ip()), Some(ip("127.0.0.1")));
            assert_eq!(rest, b"SSH-2.0-x\r\n", "the client's own bytes are untouched");

            let (peer, rest) = said("192.0.2.0/24", line).await.unwrap();
            assert_eq!((peer.source.ip(), peer.via), (ip("127.0.0.1"), None));
            assert_eq!(rest, line, "from elsewhere a header is what an intruder said");

            assert!(said("127.0.0.0/8", b"SSH-2.0-x\r\n").await.is_none());
            assert!(
                said("127.0.0.0/8", b"PROXY TCP4 198.51").await.is_none(),
                "cut short"
            );
        });
    }
}
