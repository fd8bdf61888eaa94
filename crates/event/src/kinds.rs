//! The table of event kinds: the contract that every consumer of the record reads.
//!
//! One declaration a kind: its dotted name, what it means, and its typed fields. From it come the Rust types,
//! the written form, `docs/events.md`, the JSON Schema, the text that full-text search sees (`[search]`) and
//! what is masked on internal networks (`[secret]`). A kind, once released, keeps its name and the meaning of its fields.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::field::Field;
use crate::{Bytes, SessionId, Sha256, Time, WorldId};

/// What the documentation says of one field.
#[derive(Debug, Clone)]
pub struct FieldDoc {
    /// Key in the written form.
    pub name: &'static str,
    /// What it means, with units.
    pub doc: &'static str,
    /// Its type as the documentation names it.
    pub type_name: String,
    /// Its JSON Schema.
    pub schema: Value,
    /// May be left out.
    pub optional: bool,
    /// Full-text search finds it.
    pub search: bool,
    /// Masked in outputs on internal networks.
    pub secret: bool,
}

/// What the documentation says of one kind.
#[derive(Debug, Clone)]
pub struct KindDoc {
    /// Stable dotted name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its fields, in order.
    pub fields: Vec<FieldDoc>,
}

/// A field of a concrete event, with what the table says of it.
pub struct FieldRef<'a> {
    /// Key in the written form.
    pub name: &'static str,
    /// Full-text search finds it.
    pub search: bool,
    /// Masked in outputs on internal networks.
    pub secret: bool,
    /// The value.
    pub value: &'a dyn Field,
}

const fn has(marks: &[&str], mark: &str) -> bool {
    let mut i = 0;
    while i < marks.len() {
        if eq(marks[i].as_bytes(), mark.as_bytes()) {
            return true;
        }
        i += 1;
    }
    false
}

const fn eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

macro_rules! kinds {
    ($(
        $(#[doc = $doc:literal])+
        $name:literal $kind:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident : $ty:ty $([$($mark:ident)+])? , )*
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $kind {
                $(
                    $(#[doc = $field_doc])+
                    #[serde(skip_serializing_if = "Field::absent")]
                    pub $field: $ty,
                )*
            }

            impl From<$kind> for Kind {
                fn from(it: $kind) -> Kind {
                    Kind::$kind(it)
                }
            }
        )+

        /// What happened: one variant a kind, named in the written form by the key `event`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        #[allow(missing_docs)]
        pub enum Kind {
            $( #[serde(rename = $name)] $kind($kind), )+
        }

        impl Kind {
            /// The dotted names of all kinds, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The stable dotted name.
            pub fn name(&self) -> &'static str {
                match self { $( Kind::$kind(_) => $name, )+ }
            }

            /// The fields alone, as one JSON object.
            pub fn fields_json(&self) -> serde_json::Result<String> {
                match self { $( Kind::$kind(it) => serde_json::to_string(it), )+ }
            }

            /// The inverse of [`Kind::name`] and [`Kind::fields_json`]. `None` for a name that this version does not know.
            pub fn from_parts(name: &str, fields: &str) -> Option<serde_json::Result<Kind>> {
                match name {
                    $( $name => Some(serde_json::from_str::<$kind>(fields).map(Kind::$kind)), )+
                    _ => None,
                }
            }

            /// Shows each field to `see`, in the order of the table.
            #[allow(unused_variables)]
            pub fn each_field<'a>(&'a self, see: &mut dyn FnMut(FieldRef<'a>)) {
                match self {
                    $( Kind::$kind(it) => {
                        $( see(FieldRef {
                            name: stringify!($field),
                            search: has(&[$($(stringify!($mark)),+)?], "search"),
                            secret: has(&[$($(stringify!($mark)),+)?], "secret"),
                            value: &it.$field,
                        }); )*
                    } )+
                }
            }

            /// Replaces every secret field by what `mask` makes of it.
            #[allow(unused_variables)]
            pub fn mask_secrets(&mut self, mask: &dyn Fn(&[u8]) -> Bytes) {
                match self {
                    $( Kind::$kind(it) => {
                        $( if has(&[$($(stringify!($mark)),+)?], "secret") { it.$field.mask(mask); } )*
                    } )+
                }
            }
        }

        /// The whole table, for documentation and schema.
        pub fn table() -> Vec<KindDoc> {
            vec![$( KindDoc {
                name: $name,
                doc: concat!($($doc),+).trim_ascii(),
                fields: vec![$( FieldDoc {
                    name: stringify!($field),
                    doc: concat!($($field_doc),+).trim_ascii(),
                    type_name: <$ty as Field>::type_name(),
                    schema: <$ty as Field>::schema(),
                    optional: <$ty as Field>::optional(),
                    search: has(&[$($(stringify!($mark)),+)?], "search"),
                    secret: has(&[$($(stringify!($mark)),+)?], "secret"),
                } ),*],
            } ),+]
        }
    };
}

kinds! {
    /// A connection was accepted. The first event of every session.
    "session.open" SessionOpen {
        /// The peer of the TCP connection where it is not the source: a proxy that named the source in a PROXY header.
        via: Option<SocketAddr>,
    }
    /// The connection is over. The last event of every session.
    "session.close" SessionClose {
        /// Who or what ended it: `client`, `server`, `timeout`, `limit`, `error`, `shutdown`, `interrupted` (the program was killed).
        reason: String,
        /// Bytes received from the source.
        bytes_in: u64,
        /// Bytes sent to the source.
        bytes_out: u64,
        /// How long it was open, in milliseconds.
        duration_ms: u64,
    }
    /// What is new is linked to something known: a world, a session, a planted thing.
    "session.link" SessionLink {
        /// Why: `source`, `credential`, `key`, `artifact`, `world`, `token`.
        reason: String,
        /// The other session.
        other: Option<SessionId>,
        /// The world that both met.
        other_world: Option<WorldId>,
        /// What they share, in short.
        detail: Option<String>,
    }
    /// The client named its software.
    "client.version" ClientVersion {
        /// The identification as sent, without the line end.
        version: Bytes [search],
    }
    /// The client offered algorithms for key exchange (SSH).
    "client.kex" ClientKex {
        /// MD5 over the client's algorithm lists, in hexadecimal (the hassh method).
        hassh: String [search],
        /// The text that the hash is taken over.
        hassh_text: String,
        /// Key exchange methods.
        kex: Vec<String>,
        /// Host key algorithms.
        host_key: Vec<String>,
        /// Ciphers from client to server.
        cipher: Vec<String>,
        /// Message authentication from client to server.
        mac: Vec<String>,
        /// Compression from client to server.
        compression: Vec<String>,
        /// Languages from client to server.
        language: Vec<String>,
    }
    /// The client behaved against the protocol, or left it early.
    "client.protocol" ClientProtocol {
        /// What was wrong, in the decoy's words.
        problem: String,
        /// The bytes it happened at (at most 1,024).
        sample: Option<Bytes>,
    }
    /// The client set a variable of the environment or another option of the session.
    "client.option" ClientOption {
        /// Name.
        name: Bytes [search],
        /// Value.
        value: Bytes [search],
        /// The decoy took it.
        accepted: bool,
    }
    /// Somebody tried to log in.
    "auth.attempt" AuthAttempt {
        /// `none`, `password`, `publickey`, `keyboard-interactive`, `hostbased`.
        method: String,
        /// User name as sent.
        user: Bytes [search],
        /// Password or answer as sent.
        secret: Option<Bytes> [search secret],
        /// Keyed hash of the secret: equal secrets are equal here, also where the secret itself is masked.
        secret_hash: Option<String>,
        /// Algorithm of the key.
        key_type: Option<String>,
        /// Fingerprint of the key, as `SHA256:...`.
        fingerprint: Option<String> [search],
        /// The public key in its wire form.
        key: Option<Bytes>,
        /// The key was shown without a signature, as a question.
        probe: Option<bool>,
        /// The decoy let it in (or, for a probe, said that the key would do).
        accepted: bool,
        /// Why the policy decided so: `no-such-user`, `list`, `after-tries`, `never`, `token`, `world`, `remembered`, `bad-signature`, `limit`, ...
        policy: String,
    }
    /// A terminal was given to the source.
    "terminal.open" TerminalOpen {
        /// Value of TERM.
        term: Bytes [search],
        /// Width in characters.
        columns: u32,
        /// Height in characters.
        rows: u32,
        /// Terminal device inside the world, such as `/dev/pts/0`.
        tty: Option<String>,
    }
    /// The window changed its size.
    "terminal.resize" TerminalResize {
        /// Width in characters.
        columns: u32,
        /// Height in characters.
        rows: u32,
    }
    /// A line that a program in the world read from its terminal.
    "command.input" CommandInput {
        /// The line as the program read it, without the line end.
        line: Bytes [search],
        /// The program that read it, by its path in the world.
        reader: Option<String>,
        /// Its process id in the world.
        pid: Option<u32>,
    }
    /// A command was given without a terminal (SSH `exec`).
    "command.exec" CommandExec {
        /// The command as sent.
        command: Bytes [search],
    }
    /// A subsystem was asked for (SSH).
    "subsystem.request" SubsystemRequest {
        /// Name, such as `sftp`.
        name: Bytes [search],
        /// It was granted.
        accepted: bool,
    }
    /// A program was started in the world.
    "process.exec" ProcessExec {
        /// Process id.
        pid: u32,
        /// Parent's process id.
        ppid: u32,
        /// User id.
        uid: u32,
        /// Path of the program.
        path: Bytes [search],
        /// Arguments.
        argv: Vec<Bytes> [search],
        /// Names of the programs above it, nearest first.
        ancestry: Vec<String>,
        /// Working directory.
        cwd: Option<Bytes>,
    }
    /// A process in the world ended.
    "process.exit" ProcessExit {
        /// Process id.
        pid: u32,
        /// Exit status, where it exited.
        status: Option<i32>,
        /// Signal, where one ended it.
        signal: Option<i32>,
    }
    /// A process in the world sent a signal to another.
    "process.kill" ProcessKill {
        /// Sender's process id.
        pid: u32,
        /// Receiver's process id (negative: a group).
        target: i32,
        /// Name of the receiver.
        target_name: Option<String>,
        /// Signal number.
        signal: i32,
    }
    /// A file was made in the world.
    "file.create" FileCreate {
        /// Path.
        path: Bytes [search],
        /// Process id of who made it.
        pid: Option<u32>,
    }
    /// A file in the world was changed; one event for each time it was closed after writing.
    "file.write" FileWrite {
        /// Path.
        path: Bytes [search],
        /// Size afterwards, in bytes.
        size: u64,
        /// Process id of who wrote.
        pid: Option<u32>,
        /// SHA-256 of the content, where it was kept.
        sha256: Option<Sha256> [search],
    }
    /// A file in the world was removed.
    "file.remove" FileRemove {
        /// Path.
        path: Bytes [search],
        /// Process id of who removed it.
        pid: Option<u32>,
    }
    /// A file in the world got another name.
    "file.rename" FileRename {
        /// Old path.
        from: Bytes [search],
        /// New path.
        to: Bytes [search],
        /// Process id of who renamed it.
        pid: Option<u32>,
    }
    /// A file's mode, owner or attributes were changed.
    "file.attribute" FileAttribute {
        /// Path.
        path: Bytes [search],
        /// What changed, such as `mode 0755` or `chattr +i`.
        change: String,
        /// Process id of who changed it.
        pid: Option<u32>,
    }
    /// A file that the source brought or made is kept.
    "file.artifact" FileArtifact {
        /// Path in the world, or the name it was sent under.
        path: Bytes [search],
        /// SHA-256 of the content.
        sha256: Sha256 [search],
        /// Size of the whole file, in bytes.
        size: u64,
        /// Bytes kept, where the file was longer than the limit.
        kept: u64,
        /// How it came: `written`, `sftp`, `scp`, `fetched`, `stdin`.
        how: String,
        /// Where it came from, where it was fetched.
        url: Option<Bytes> [search],
    }
    /// A program in the world wanted to connect somewhere. Nothing left the world.
    "net.connect" NetConnect {
        /// `tcp`, `udp`, `icmp`.
        protocol: String,
        /// Address.
        address: IpAddr [search],
        /// Port.
        port: u16,
        /// Name that the address was looked up under.
        name: Option<Bytes> [search],
        /// What the program met: `unreachable`, `timeout`, `refused`, `sink`, `inside`, `fetch`.
        answer: String,
        /// Process id.
        pid: Option<u32>,
        /// Path of the program.
        program: Option<Bytes>,
    }
    /// A program in the world opened a port.
    "net.listen" NetListen {
        /// `tcp` or `udp`.
        protocol: String,
        /// Address.
        address: IpAddr,
        /// Port.
        port: u16,
        /// Process id.
        pid: Option<u32>,
        /// Path of the program.
        program: Option<Bytes>,
    }
    /// A program in the world asked for a name.
    "net.resolve" NetResolve {
        /// The name.
        name: Bytes [search],
        /// Record type, such as `A`.
        record: String,
        /// The stage's answer.
        answer: Option<String>,
        /// Process id.
        pid: Option<u32>,
    }
    /// What a program in the world said to a peer on the stage.
    "net.bytes" NetBytes {
        /// `tcp` or `udp`.
        protocol: String,
        /// Address.
        address: IpAddr,
        /// Port.
        port: u16,
        /// The first bytes (at most 4,096).
        bytes: Bytes [search],
        /// Bytes in all.
        total: u64,
        /// Process id.
        pid: Option<u32>,
    }
    /// The source asked the decoy to forward a connection (SSH `direct-tcpip`, `tcpip-forward`, ...).
    "forward.request" ForwardRequest {
        /// Request type as the protocol names it.
        request: String,
        /// Host as sent.
        host: Bytes [search],
        /// Port.
        port: u32,
        /// Originator's host as sent.
        origin_host: Option<Bytes>,
        /// Originator's port.
        origin_port: Option<u32>,
        /// It was granted.
        accepted: bool,
    }
    /// The first bytes that the source sent through a forwarding.
    "forward.bytes" ForwardBytes {
        /// Host as requested.
        host: Bytes [search],
        /// Port.
        port: u32,
        /// The bytes (at most 4,096).
        bytes: Bytes [search],
    }
    /// Another request of a protocol that has no kind of its own.
    "protocol.request" ProtocolRequest {
        /// Name as the protocol has it.
        name: Bytes [search],
        /// It was granted.
        accepted: bool,
        /// The content (at most 4,096 bytes).
        content: Option<Bytes> [search],
    }
    /// Accounts of the world changed: a user, a password, a group, a key.
    "user.change" UserChange {
        /// Which account.
        user: Bytes [search],
        /// What: `added`, `removed`, `password`, `group`, `key`, `shell`.
        change: String,
        /// More, such as the key's fingerprint.
        detail: Option<String> [search],
        /// Process id.
        pid: Option<u32>,
    }
    /// A process in the world changed its user or privileges.
    "user.become" UserBecome {
        /// Process id.
        pid: u32,
        /// User id before.
        from: u32,
        /// User id afterwards.
        to: u32,
        /// Path of the program.
        program: Option<Bytes>,
    }
    /// A planted file inside a world was read, copied or sent.
    "bait.read" BaitRead {
        /// Id of the bait.
        bait: String [search],
        /// Path in the world.
        path: Bytes [search],
        /// Process id.
        pid: Option<u32>,
        /// Path of the program.
        program: Option<Bytes>,
    }
    /// A planted thing was used: whoever did it has stolen it.
    "token.used" TokenUsed {
        /// Id of the token.
        token: String [search],
        /// What it is: `credential`, `key`, `history`, ...
        kind: String,
        /// Where it was planted.
        planted: Option<String> [search],
        /// The session that took it, where it was taken from a world.
        taken_by: Option<SessionId>,
    }
    /// A world was started for a source.
    "world.start" WorldStart {
        /// Image it starts from, by hash.
        image: String,
        /// Cover it shows, by name.
        cover: String,
        /// It had been there before and was woken.
        resumed: bool,
    }
    /// A world ended or was put to sleep.
    "world.end" WorldEnd {
        /// `idle`, `quota`, `hibernated`, `shutdown`, `reboot`, `evicted`, or `unused`: nobody has ever logged in to it.
        reason: String,
        /// Guest instructions run.
        instructions: u64,
    }
    /// A world that had left memory is there again.
    "world.wake" WorldWake {
        /// How: `checkpoint` (exactly as it was, from a checkpoint in its journal), `journal` (the same, from its birth), `disk` (it looks like a reboot), `fresh` (nothing was left of it).
        how: String,
        /// Why it is not as it was, or why its checkpoint was of no use.
        why: Option<String>,
        /// Milliseconds that reading its checkpoint and running its journal took.
        milliseconds: u64,
    }
    /// The machine in a world goes down: every connection of its source ends, and it is away for a while.
    "world.down" WorldDown {
        /// How: `reboot`, `poweroff`, `halt`.
        how: String,
        /// Init was asked, and everything was told to end; else it stopped at once.
        in_order: bool,
        /// Process id of who asked.
        pid: Option<u32>,
        /// Seconds until it is up again.
        away_seconds: u64,
    }
    /// The machine in a world has booted. Its disk is as it was.
    "world.up" WorldUp {
        /// When the kernel began, by its own clock.
        booted: Time,
        /// What it came from: `reboot`, or `disk` where its memory could not be brought back.
        after: String,
    }
    /// The machine in a world started something by itself that an intruder left there.
    "world.job" WorldJob {
        /// What started it: `cron`, `boot` (a crontab's @reboot), `unit`, `timer`, `rc.local`, `init.d`.
        by: String,
        /// The file that says so.
        path: Bytes [search],
        /// As whom.
        user: Bytes,
        /// What.
        command: Bytes [search],
        /// Process id; none where it could not be started.
        pid: Option<u32>,
    }
    /// A world stopped for an error of ours. Its sessions were closed.
    "world.panic" WorldPanic {
        /// What was said.
        message: String,
    }
    /// Something in a world met a gap of ours.
    "world.gap" WorldGap {
        /// `syscall`, `ioctl`, `path`, `instruction`.
        gap: String,
        /// Which one.
        detail: String [search],
        /// Path of the program.
        program: Option<Bytes>,
        /// How often so far in this world.
        count: u64,
    }
    /// A bound was reached; what goes past it is refused.
    "limit.hit" LimitHit {
        /// Name of the limit, as in `docs/limits.md`.
        limit: String [search],
        /// Its value.
        value: u64,
        /// Whom it concerned: `session`, `source`, `all`.
        scope: String,
    }
    /// Sessions were joined, split or changed in a campaign.
    "campaign.change" CampaignChange {
        /// Id of the campaign.
        campaign: String [search],
        /// What: `opened`, `joined`, `stage`, `split`, `merged`, `closed`.
        change: String,
        /// The stage reached.
        stage: Option<String>,
        /// Why, in plain words.
        reason: Option<String> [search],
    }
    /// A response was decided.
    "response.decide" ResponseDecide {
        /// Id of the response.
        response: String,
        /// What: `alert`, `block`, `publish`, ...
        action: String,
        /// The rule that decided.
        rule: Option<String>,
        /// The operator that decided by hand, where no rule did.
        operator: Option<String>,
        /// Campaign it answers.
        campaign: Option<String> [search],
        /// Against what: an address or network.
        target: Option<String> [search],
        /// Until when it holds.
        until: Option<Time>,
        /// Nothing was touched.
        dry_run: bool,
    }
    /// A response is in force, or failed, or is over.
    "response.result" ResponseResult {
        /// Id of the response.
        response: String,
        /// `in-force`, `failed`, `refused`, `undone`, `expired`.
        result: String,
        /// More.
        detail: Option<String>,
    }
    /// An incident was opened, updated or closed towards the operator.
    "alert.open" AlertOpen {
        /// Id of the incident.
        alert: String,
        /// `low`, `medium`, `high`, `top`.
        severity: String,
        /// One line.
        title: String [search],
        /// Campaign it speaks of.
        campaign: Option<String> [search],
    }
    /// An open incident got more.
    "alert.update" AlertUpdate {
        /// Id of the incident.
        alert: String,
        /// One line.
        title: String [search],
        /// Events bundled so far.
        events: u64,
    }
    /// An incident is over.
    "alert.close" AlertClose {
        /// Id of the incident.
        alert: String,
        /// Events bundled in all.
        events: u64,
    }
    /// A message reached its receiver, or did not.
    "alert.sent" AlertSent {
        /// Id of the incident.
        alert: String,
        /// `mail`, `webhook`, `syslog`.
        way: String,
        /// It was taken.
        delivered: bool,
        /// What the receiver said.
        detail: Option<String>,
    }
    /// The operator did something.
    "operator.action" OperatorAction {
        /// Who, as far as known.
        operator: String,
        /// What, as the command line names it.
        action: String [search],
        /// More.
        detail: Option<String>,
    }
    /// The program started.
    "system.start" SystemStart {
        /// Version of the program.
        version: String,
        /// Decoys and where they listen.
        listening: Vec<String>,
        /// Confinement that the kernel did not offer.
        missing_confinement: Vec<String>,
    }
    /// The program ended in order.
    "system.stop" SystemStop {
        /// Why: `signal`, `error`.
        reason: String,
    }
    /// The program cannot do all it should.
    "system.degraded" SystemDegraded {
        /// What is wrong: `disk-full`, `read-only`, `corrupt`, `clock`, `process-died`, `silent`, `backlog`.
        problem: String,
        /// In words.
        detail: String,
    }
    /// What was wrong is over.
    "system.recovered" SystemRecovered {
        /// What was wrong, as in `system.degraded`.
        problem: String,
        /// In words.
        detail: String,
    }
    /// The program is alive.
    "heartbeat" Heartbeat {
        /// Seconds since start.
        uptime: u64,
        /// Sessions open now.
        sessions: u64,
        /// Events recorded in all.
        events: u64,
    }
}
