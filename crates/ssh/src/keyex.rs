//! Key exchange as a conversation: KEXINIT, the method's messages, NEWKEYS, EXT_INFO; first and repeated.

use crate::algo::{self, choose, has};
use crate::api::*;
use crate::config::Compression;
use crate::kex::{self, Hash, Method, Shared, gex};
use crate::msg;
use crate::packet::Keys;
use crate::server::{End, Handled, Handler, Server};
use crate::wire::{Malformed, Put, Reader};
use md5::{Digest, Md5};
use std::collections::VecDeque;
use std::sync::Arc;

/// The state of key exchange.
#[derive(Debug)]
pub(crate) struct KeyExchange {
    /// The first exchange is not over.
    pub initial: bool,
    /// Both sides know strict key exchange.
    pub strict: bool,
    /// Our KEXINIT is out and no NEWKEYS has answered it.
    pub init_sent: bool,
    /// Only messages of the exchange may be sent.
    pub rekeying: bool,
    /// Messages that wait for its end.
    pub queued: VecDeque<Vec<u8>>,
    /// How many guessed packets to drop.
    pub skip: u32,
    /// Identification line of the client.
    pub client_version: Vec<u8>,
    pub session_id: Vec<u8>,
    /// The host key blob of the first exchange (for hostbound authentication).
    pub first_host_key: Vec<u8>,
    /// The client's first list held rsa-sha2-512.
    pub rsa512: bool,
    /// The same for rsa-sha2-256.
    pub rsa256: bool,
    pub host_key_alg: String,
    ext_info: bool,
    ours: Vec<u8>,
    our_lists: [String; 10],
    theirs: Vec<u8>,
    chosen: Option<Box<Chosen>>,
    group: Option<(gex::Group, [u32; 3])>,
    /// Keys for what the client sends, from its NEWKEYS on.
    next_recv: Option<Keys>,
    keyed_at: Time,
    seen_kexinit: bool,
}

impl Default for KeyExchange {
    fn default() -> Self {
        KeyExchange {
            initial: true,
            strict: false,
            init_sent: false,
            rekeying: false,
            queued: VecDeque::new(),
            skip: 0,
            client_version: Vec::new(),
            session_id: Vec::new(),
            first_host_key: Vec::new(),
            rsa512: false,
            rsa256: false,
            host_key_alg: String::new(),
            ext_info: false,
            ours: Vec::new(),
            our_lists: Default::default(),
            theirs: Vec::new(),
            chosen: None,
            group: None,
            next_recv: None,
            keyed_at: Time::ZERO,
            seen_kexinit: false,
        }
    }
}

#[derive(Debug)]
struct Chosen {
    names: Negotiated,
    method: Method,
    hash: Hash,
}

impl Server {
    /// The first KEXINIT goes out.
    pub(crate) fn begin_kex(&mut self) {
        self.send_kexinit();
        self.reset_kex_handlers();
    }

    /// Only key exchange is expected among the transport's messages.
    fn reset_kex_handlers(&mut self) {
        self.handle(1..=49, Handler::KexError);
        self.handlers[usize::from(msg::KEXINIT)] = Handler::KexInit;
    }

    fn proposal(&self) -> [String; 10] {
        let c = &self.config;
        let mut kexes: Vec<&str> = c.kex.iter().map(String::as_str).collect();
        if self.quirks.bad_curve25519 {
            kexes.retain(|k| *k != "curve25519-sha256@libssh.org");
        }
        if self.quirks.old_gex {
            kexes.retain(|k| !k.starts_with("diffie-hellman-group-exchange-"));
        }
        kexes.push(algo::STRICT_SERVER);
        let host_keys: Vec<&str> = c
            .host_keys
            .iter()
            .flat_map(|k| k.algorithms().iter().copied())
            .collect();
        let comp = match c.compression {
            Compression::Delayed => "none,zlib@openssh.com",
            Compression::Off => "none",
        };
        let (ciphers, macs) = (c.ciphers.join(","), c.macs.join(","));
        [
            kexes.join(","),
            host_keys.join(","),
            ciphers.clone(),
            ciphers,
            macs.clone(),
            macs,
            comp.to_owned(),
            comp.to_owned(),
            String::new(),
            String::new(),
        ]
    }

    fn send_kexinit(&mut self) {
        let lists = self.proposal();
        let mut m = vec![msg::KEXINIT];
        let mut cookie = [0u8; 16];
        self.rng.fill(&mut cookie);
        m.extend_from_slice(&cookie);
        for l in &lists {
            m.put_string(l.as_bytes());
        }
        m.put_u8(0).put_u32(0);
        self.kex.rekeying = true;
        self.send(&m);
        self.kex.ours = m;
        self.kex.our_lists = lists;
        self.kex.init_sent = true;
    }

    /// New keys are wanted by us.
    pub(crate) fn start_rekey(&mut self) {
        if !self.kex.init_sent {
            self.send_kexinit();
            self.reset_kex_handlers();
        }
    }

    /// When `RekeyLimit`'s time is up.
    pub(crate) fn rekey_due_at(&self) -> Option<Time> {
        let every = self.config.rekey_interval;
        (!every.is_zero() && !self.kex.init_sent && self.t.used_since_keys())
            .then(|| self.kex.keyed_at.saturating_add(every))
    }

    pub(crate) fn on_kexinit(&mut self, seq: u32, packet: &[u8]) -> Handled {
        self.handlers[usize::from(msg::KEXINIT)] = Handler::KexError;
        let mut r = Reader::new(packet.get(1..).unwrap_or_default());
        r.raw(16)?;
        let mut raw = r.clone();
        for _ in 0..10 {
            r.string()?;
        }
        r.u8()?;
        r.u32()?;
        r.end()?;
        if !self.kex.init_sent {
            self.send_kexinit();
        }
        let mut lists: [String; 10] = Default::default();
        for l in &mut lists {
            *l = String::from_utf8_lossy(raw.cstring()?).into_owned();
        }
        let first_follows = raw.u8()? != 0;
        self.kex.theirs = packet.to_vec();
        if !self.kex.seen_kexinit {
            self.kex.seen_kexinit = true;
            let text = [&*lists[0], &lists[2], &lists[4], &lists[6]].join(";");
            let hassh = Md5::digest(text.as_bytes())
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let fact = ClientKexInit {
                lists: lists.clone(),
                first_follows,
                hassh,
                hassh_text: text,
            };
            self.acts
                .push_back(Act::Fact(Fact::ClientKexInit(Box::new(fact))));
        }
        self.choose(seq, &lists, first_follows)?;
        match self.kex.chosen.as_ref().map(|c| c.method) {
            Some(Method::Gex) => self.handlers[usize::from(msg::GEX_REQUEST)] = Handler::GexRequest,
            Some(_) => self.handlers[usize::from(msg::KEX_INIT)] = Handler::KexPublic,
            None => {}
        }
        Ok(())
    }

    /// Negotiation (kex_choose_conf in kex.c).
    fn choose(&mut self, seq: u32, client: &[String; 10], first_follows: bool) -> Handled {
        if self.kex.initial {
            self.kex.ext_info = has(&client[0], algo::EXT_INFO_CLIENT);
            self.kex.strict = has(&client[0], algo::STRICT_CLIENT);
            self.t.strict = self.kex.strict;
            if self.kex.strict && seq != 0 {
                return Err(End::disconnect(
                    "strict KEX violation: KEXINIT was not the first packet".to_owned(),
                ));
            }
            self.kex.rsa512 =
                has(&client[1], "rsa-sha2-512") || has(&client[1], "rsa-sha2-512-cert-v01@openssh.com");
            self.kex.rsa256 =
                has(&client[1], "rsa-sha2-256") || has(&client[1], "rsa-sha2-256-cert-v01@openssh.com");
        }
        let ours = &self.kex.our_lists;
        let pick = |i: usize, what: &str| -> Result<String, End> {
            choose(&client[i], &ours[i])
                .map(str::to_owned)
                .ok_or_else(|| End::Silent(format!("no matching {what} found. Their offer: {}", client[i])))
        };
        let kex_name = pick(0, "key exchange method")?;
        let (method, hash) =
            kex::by_name(&kex_name).ok_or_else(|| End::Silent("unsupported KEX method".to_owned()))?;
        let host_key = pick(1, "host key type")?;
        let mut dirs: [[String; 3]; 2] = Default::default();
        for (i, d) in dirs.iter_mut().enumerate() {
            let cipher = pick(2 + i, "cipher")?;
            let aead = crate::crypto::cipher::CipherSpec::by_name(&cipher).is_some_and(|s| s.aead());
            let mac = if aead { String::new() } else { pick(4 + i, "MAC")? };
            *d = [cipher, mac, pick(6 + i, "compression method")?];
        }
        let [client_to_server, server_to_client] = dirs;
        let first = |l: &str| l.split(',').next().unwrap_or("").to_owned();
        if first_follows && (first(&client[0]) != first(&ours[0]) || first(&client[1]) != first(&ours[1])) {
            self.kex.skip = 1;
        }
        self.kex.host_key_alg.clone_from(&host_key);
        let names = Negotiated {
            kex: kex_name,
            host_key,
            client_to_server,
            server_to_client,
            strict: self.kex.strict,
        };
        self.kex.chosen = Some(Box::new(Chosen { names, method, hash }));
        Ok(())
    }

    pub(crate) fn on_kex_public(&mut self, r: &mut Reader) -> Handled {
        let client = r.string()?;
        r.end()?;
        let Some((method, hash)) = self.kex.chosen.as_ref().map(|c| (c.method, c.hash)) else {
            return Err(End::Silent("internal error".to_owned()));
        };
        let dh = matches!(method, Method::Dh14 | Method::Dh16 | Method::Dh18);
        if dh && client.first().is_some_and(|b| b & 0x80 != 0) {
            return Err(Malformed::Format.into());
        }
        let shared = kex::respond(method, client, &mut *self.rng)
            .ok_or_else(|| End::Silent("invalid public value".to_owned()))?;
        let mut public = shared.public.clone();
        if dh && public.first().is_some_and(|b| b & 0x80 != 0) {
            public.insert(0, 0);
        }
        let mut middle = Vec::new();
        middle.put_string(client).put_string(&public);
        self.conclude(msg::KEX_REPLY, hash, &middle, &public, shared)
    }

    pub(crate) fn on_gex_request(&mut self, r: &mut Reader) -> Handled {
        let [min, want, max] = [r.u32()?, r.u32()?, r.u32()?];
        r.end()?;
        if max < min || want < min || max < want || max < gex::MIN_BITS {
            return Err(End::Silent("DH GEX group out of range".to_owned()));
        }
        let (lo, hi) = (min.max(gex::MIN_BITS), max.min(gex::MAX_BITS));
        let bits = want.clamp(gex::MIN_BITS, gex::MAX_BITS);
        if hi < lo || bits < lo || hi < bits {
            return Err(End::Silent("bad parameters".to_owned()));
        }
        let moduli = Arc::clone(&self.config.moduli);
        let group = moduli.choose(lo, bits, hi, &mut *self.rng);
        let mut m = vec![msg::GEX_GROUP];
        m.put_mpint(&group.p.to_bytes_be())
            .put_mpint(&group.g.to_bytes_be());
        self.send(&m);
        self.kex.group = Some((group, [min, want, max]));
        self.handlers[usize::from(msg::GEX_INIT)] = Handler::GexInit;
        Ok(())
    }

    pub(crate) fn on_gex_init(&mut self, r: &mut Reader) -> Handled {
        let client = r.mpint()?;
        r.end()?;
        let Some((group, [min, want, max])) = self.kex.group.take() else {
            return Err(End::Silent("internal error".to_owned()));
        };
        let Shared { public, secret } = kex::dh(&group, client, &mut *self.rng)
            .ok_or_else(|| End::Silent("invalid public value".to_owned()))?;
        let mut middle = Vec::new();
        middle
            .put_u32(min)
            .put_u32(want)
            .put_u32(max)
            .put_mpint(&group.p.to_bytes_be())
            .put_mpint(&group.g.to_bytes_be())
            .put_mpint(client)
            .put_mpint(&public);
        let mut wire = public.clone();
        if wire.first().is_some_and(|b| b & 0x80 != 0) {
            wire.insert(0, 0);
        }
        self.conclude(
            msg::GEX_REPLY,
            Hash::Sha256,
            &middle,
            &wire,
            Shared { public, secret },
        )
    }

    /// Hash, signature, reply, NEWKEYS, EXT_INFO.
    fn conclude(&mut self, reply: u8, hash: Hash, middle: &[u8], public: &[u8], shared: Shared) -> Handled {
        let Some(chosen) = self.kex.chosen.take() else {
            return Err(End::Silent("internal error".to_owned()));
        };
        let config = Arc::clone(&self.config);
        let alg = chosen.names.host_key.as_str();
        let host_key = config
            .host_keys
            .iter()
            .find(|k| k.algorithms().contains(&alg))
            .ok_or_else(|| End::Silent("no hostkey alg".to_owned()))?;
        let mut head = Vec::new();
        head.put_string(&self.kex.client_version)
            .put_string(config.version.as_bytes())
            .put_string(&self.kex.theirs)
            .put_string(&self.kex.ours)
            .put_string(host_key.blob());
        let h = hash.of(&[&head, middle, &shared.secret]);
        if self.kex.session_id.is_empty() {
            self.kex.session_id.clone_from(&h);
            self.kex.first_host_key = host_key.blob().to_vec();
        }
        let signature = host_key
            .sign(alg, &h, &mut *self.rng)
            .ok_or_else(|| End::Silent("cannot sign".to_owned()))?;
        let mut m = vec![reply];
        m.put_string(host_key.blob())
            .put_string(public)
            .put_string(&signature);
        self.send(&m);

        let session_id = self.kex.session_id.clone();
        let keys = |names: &[String; 3], letters: [u8; 3]| -> Result<Keys, End> {
            let [iv, key, mac] = letters.map(|l| kex::derive(hash, &shared.secret, &h, l, &session_id, 64));
            Keys::new(names, &key, &iv, &mac).ok_or_else(|| End::Silent("internal error".to_owned()))
        };
        let recv = keys(&chosen.names.client_to_server, *b"ACE")?;
        let send = keys(&chosen.names.server_to_client, *b"BDF")?;
        self.reset_kex_handlers();
        self.t.send_newkeys(send, &mut *self.rng);
        self.kex.next_recv = Some(recv);
        self.kex.rekeying = false;
        self.kex.keyed_at = self.now;
        while let Some(m) = self.kex.queued.pop_front() {
            self.send(&m);
            if self.kex.rekeying {
                break;
            }
        }
        if self.kex.ext_info && self.kex.initial {
            let mut m = vec![msg::EXT_INFO];
            m.put_u32(2)
                .put_string(b"server-sig-algs")
                .put_string(config.server_sig_algs.as_bytes())
                .put_string(b"publickey-hostbound@openssh.com")
                .put_string(b"0");
            self.send(&m);
        }
        self.handlers[usize::from(msg::NEWKEYS)] = Handler::NewKeys;
        self.acts
            .push_back(Act::Fact(Fact::Negotiated(Box::new(chosen.names))));
        Ok(())
    }

    pub(crate) fn on_newkeys(&mut self, r: &Reader) -> Handled {
        self.handlers[usize::from(msg::NEWKEYS)] = Handler::KexError;
        self.handlers[usize::from(msg::KEXINIT)] = Handler::KexInit;
        r.end()?;
        let Some(keys) = self.kex.next_recv.take() else {
            return Err(End::Silent("internal error".to_owned()));
        };
        self.t.set_recv(keys);
        self.kex.init_sent = false;
        if self.kex.initial {
            self.kex.initial = false;
            self.begin_auth();
        }
        Ok(())
    }
}
