//! The sockets: accepting, bounds on connections, and the way of a request to its route.
//!
//! One thread waits (a current-thread runtime); what reads the record runs on a few threads beside it, so that a slow question holds up
//! no other. hyper parses; how much it may read and how long it may wait is said here.

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, IF_NONE_MATCH};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use turncoat_event::Event;

use crate::call::{Call, Fields, LONGEST_BODY, LONGEST_PATH, Via};
use crate::guard;
use crate::host::{Host, Settings, Tls};
use crate::live::Live;
use crate::readers::Readers;
use crate::reply::{Payload, Refusal, Reply};
use crate::routes::{self, Serve};
use crate::secret::same;
use crate::tally::Tally;
use crate::visits::Visits;
use crate::words;

/// Connections at once; more wait to be accepted.
pub const CONNECTIONS: usize = 128;

/// Threads that read the record for requests.
pub const THREADS: usize = 4;

/// How long headers may take, and how long a connection may be quiet between requests.
pub const HEADER_TIME: Duration = Duration::from_secs(30);

/// How long a body, or the greeting of TLS, may take.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// How long the other end may take nothing of what is sent.
const STUCK: u32 = 30_000;

/// Bytes of one request's headers, and headers in it.
const HEADER_BYTES: usize = 32 << 10;
const HEADERS: usize = 64;

/// The console: what all requests share.
pub struct Console {
    /// The program around it.
    pub host: Arc<dyn Host>,
    /// What is configured.
    pub settings: Settings,
    /// Who is logged in.
    pub visits: Visits,
    /// Readers of the record.
    pub readers: Readers,
    /// The live feed.
    pub live: Live,
    /// What was tried, counted.
    pub tally: Tally,
}

impl Console {
    /// A console that nobody is logged in to.
    pub fn new(host: Arc<dyn Host>, settings: Settings) -> Console {
        Console {
            readers: Readers::new(host.layout().clone()),
            visits: Visits::new(Duration::from_secs(settings.idle)),
            live: Live::default(),
            tally: Tally::default(),
            settings,
            host,
        }
    }

    /// Events as they may be shown: where secrets are masked, without them.
    pub fn shown(&self, mut events: Vec<Event>) -> Vec<Event> {
        if self.host.masks() {
            events.iter_mut().for_each(words::mask);
        }
        events
    }

    /// A new word that opens the door once, `/in/WORD`. `None` when the system gives no random bytes.
    pub fn link(&self) -> Option<String> {
        let word = crate::secret::word()?;
        self.visits.allow(&word, Instant::now());
        Some(word)
    }
}

/// What rustls needs, from PEM.
///
/// # Errors
/// One line for the operator.
pub fn tls_config(tls: &Tls) -> Result<Arc<rustls::ServerConfig>, String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(tls.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("console.tls_cert: {e}"))?;
    if chain.is_empty() {
        return Err("console.tls_cert: expected a file with certificates in PEM form".into());
    }
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes())
        .map_err(|_| "console.tls_key: expected a file with a private key in PEM form".to_owned())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| format!("console.tls_cert and console.tls_key do not fit: {e}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves for ever. With `tls`, every listener speaks it.
///
/// # Errors
/// One line for the operator: a socket cannot be used.
pub fn serve(
    console: Arc<Console>,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(Duration::from_secs(60))
        .thread_name("console")
        .build()
        .map_err(|e| format!("console: {e}"))?;
    let followed = console.clone();
    std::thread::Builder::new()
        .name("console-feed".into())
        .spawn(move || crate::live::follow(&followed))
        .map_err(|e| format!("console: {e}"))?;
    let acceptor = tls.map(TlsAcceptor::from);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    runtime.block_on(async move {
        for listener in listeners {
            listener
                .set_nonblocking(true)
                .map_err(|e| format!("console: {e}"))?;
            let listener =
                tokio::net::TcpListener::from_std(listener).map_err(|e| format!("console: {e}"))?;
            tokio::spawn(accept(console.clone(), listener, acceptor.clone(), room.clone()));
        }
        std::future::pending().await
    })
}

async fn accept(
    console: Arc<Console>,
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    room: Arc<Semaphore>,
) {
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer, local) = match listener.accept().await {
            Ok((stream, peer)) => match stream.local_addr() {
                Ok(local) => (stream, peer, local),
                Err(_) => continue,
            },
            Err(_) => {
                // No descriptors left, for example: others end, then it goes on.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STUCK);
        let via = Via {
            peer,
            local,
            secure: acceptor.is_some(),
        };
        let (console, acceptor) = (console.clone(), acceptor.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match acceptor {
                None => talk(console, via, stream).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(BODY_TIME, acceptor.accept(stream)).await {
                        talk(console, via, stream).await;
                    }
                }
            }
        });
    }
}

async fn talk<S>(console: Arc<Console>, via: Via, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let console = console.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(console, via, request).await) }
    });
    // How a connection ends tells nothing that anybody could do something about.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// One request, from its headers to its answer.
async fn answer(console: Arc<Console>, via: Via, request: Request<Incoming>) -> Response<Payload> {
    let api = request.uri().path().starts_with("/api/");
    let head = request.method() == Method::HEAD;
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|t| t.to_str().ok())
        .map(str::to_owned);
    let mut response = match route(console, via, request).await {
        Ok(reply) => reply.into_response(known.as_deref()),
        Err(refusal) => refusal.into_response(api),
    };
    if head {
        *response.body_mut() = Payload::Whole(None);
    }
    response
}

async fn route(console: Arc<Console>, via: Via, request: Request<Incoming>) -> Result<Reply, Refusal> {
    guard::host(request.headers(), &via, &console.settings)?;
    if request.uri().path_and_query().map_or(0, |p| p.as_str().len()) > LONGEST_PATH {
        return Err(Refusal::new(414, "the address is too long"));
    }
    let method = if request.method() == Method::HEAD {
        Method::GET
    } else {
        request.method().clone()
    };
    let path = request.uri().path().to_owned();
    let (route, parts) = routes::find(&method, &path)?;
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let cookie = guard::cookie(request.headers(), &via);
    let visit = cookie
        .as_deref()
        .and_then(|c| console.visits.of(c, Instant::now()));
    if !guard::may(
        route.access,
        visit.is_some(),
        request.headers(),
        &query,
        &via,
        &console.settings,
    ) {
        let page = method == Method::GET && route.gives.is_page();
        return if page {
            Ok(Reply::Goto("/login".into()))
        } else {
            Err(Refusal::new(401, "log in first, or show the token"))
        };
    }
    let mut form = Fields::default();
    if method == Method::POST {
        guard::origin(request.headers(), &via)?;
        let fine = request.headers().get(CONTENT_TYPE).is_some_and(|t| {
            t.to_str()
                .is_ok_and(|t| t.starts_with("application/x-www-form-urlencoded"))
        });
        if !fine {
            return Err(Refusal::new(415, "expected application/x-www-form-urlencoded"));
        }
        let body = tokio::time::timeout(BODY_TIME, body(request.into_body()))
            .await
            .map_err(|_| Refusal::new(408, "the body did not come"))??;
        form = Fields::parse(&body);
        if let Some(visit) = &visit
            && !same(form.text("csrf").unwrap_or_default(), &visit.csrf)
        {
            return Err(Refusal::new(
                403,
                "the form is from another login: load the page anew",
            ));
        }
    }
    let call = Call {
        via,
        path,
        parts,
        query,
        form,
        visit,
        cookie,
    };
    match route.serve {
        Serve::Live(live) => live(&console, &call),
        Serve::Plain(plain) => work(move || plain(&console, &call)).await,
        Serve::Read(read) => {
            work(move || {
                console
                    .readers
                    .with(|reader| read(&console, reader, &call))
                    .map_err(Refusal::from)?
            })
            .await
        }
    }
}

/// Runs on a thread of its own kind; a panic there is told as an error and ends nothing else.
async fn work(work: impl FnOnce() -> Result<Reply, Refusal> + Send + 'static) -> Result<Reply, Refusal> {
    tokio::task::spawn_blocking(move || std::panic::catch_unwind(AssertUnwindSafe(work)))
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or_else(|| {
            Err(Refusal::new(
                500,
                "an error of ours; the program's output says more",
            ))
        })
}

/// Reads a body that is not too long.
async fn body(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let mut all = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let data = match frame {
            None => return Ok(all),
            Some(Err(_)) => return Err(Refusal::wrong("the body broke off")),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if all.len() + data.len() > LONGEST_BODY {
            return Err(Refusal::new(413, "the body is too long"));
        }
        all.extend_from_slice(&data);
    }
}
