//! The table of keys. A key is declared once, here.
//!
//! A section is one struct; its name may have dots (`output.syslog`). The default stands as TOML and goes through the same
//! parser as the file's values. `live` keys are taken over by a running program on SIGHUP; `restart` keys are not.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::value::{Network, RuleText, Setting, Size, Span};
use crate::choice;

/// What the documentation says of a key.
pub struct KeyDoc {
    /// Section.
    pub section: &'static str,
    /// Key in the section.
    pub key: &'static str,
    /// Meaning.
    pub doc: &'static str,
    /// Default, as TOML.
    pub default: &'static str,
    /// What values it takes.
    pub expected: String,
    /// JSON Schema of the value.
    pub schema: Json,
    /// A running program takes a change.
    pub live: bool,
}

/// A value that is not what its key wants: what would be right.
pub struct Wrong(pub String);

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        [$section:literal] $field:ident : $name:ident {
            $( $(#[doc = $kdoc:literal])+ $key:ident : $ty:ty = $default:literal, $when:ident; )*
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $name { $( $(#[doc = $kdoc])+ pub $key: $ty, )* }
        )+

        /// Every setting of the program.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct Settings { $( $(#[doc = $doc])+ pub $field: $name, )+ }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $( $field: $name { $( $key: default_of::<$ty>($section, stringify!($key), $default), )* }, )+ }
            }
        }

        impl Settings {
            /// Sets one key from a value of the file. `None` when there is no such key.
            pub fn set_toml(&mut self, section: &str, key: &str, value: &toml_edit::Value) -> Option<Result<(), Wrong>> {
                match (section, key) {
                    $( $( ($section, stringify!($key)) => Some(match <$ty as Setting>::from_toml(value) {
                        Some(it) => { self.$field.$key = it; Ok(()) }
                        None => Err(Wrong(<$ty as Setting>::expected())),
                    }), )* )+
                    _ => None,
                }
            }

            /// Sets one key from a text of the environment. `None` when there is no such key.
            pub fn set_text(&mut self, section: &str, key: &str, text: &str) -> Option<Result<(), Wrong>> {
                match (section, key) {
                    $( $( ($section, stringify!($key)) => Some(match <$ty as Setting>::from_text(text) {
                        Some(it) => { self.$field.$key = it; Ok(()) }
                        None => Err(Wrong(<$ty as Setting>::expected())),
                    }), )* )+
                    _ => None,
                }
            }

            /// The keys in which two settings differ, and whether a running program can take each.
            pub fn differences(&self, other: &Settings) -> Vec<(&'static str, &'static str, bool)> {
                let mut found = Vec::new();
                $( $( if self.$field.$key != other.$field.$key {
                    found.push(($section, stringify!($key), is_live(stringify!($when))));
                } )* )+
                found
            }

            /// Takes from `newer` what a running program can take.
            pub fn take_live(&mut self, newer: &Settings) {
                $( $( if is_live(stringify!($when)) { self.$field.$key = newer.$field.$key.clone(); } )* )+
            }
        }

        /// Sections in order, with what each is about.
        pub const SECTIONS: &[(&str, &str)] = &[$( ($section, concat!($($doc),+)) ),+];

        /// The whole table.
        pub fn keys() -> Vec<KeyDoc> {
            vec![$( $( KeyDoc {
                section: $section,
                key: stringify!($key),
                doc: concat!($($kdoc),+).trim_ascii(),
                default: $default,
                expected: <$ty as Setting>::expected(),
                schema: <$ty as Setting>::schema(),
                live: is_live(stringify!($when)),
            } ),* ),+]
        }
    };
}

impl Settings {
    /// The settings as a process gets them: secrets towards receivers of ours are for the process that sends alone.
    pub fn for_role(&self, role: crate::process::Role) -> Settings {
        let mut all = self.clone();
        if role != crate::process::Role::Out {
            all.alert_mail.password.clear();
            all.alert_webhook.token.clear();
            if !all.alert_webhook.url.is_empty() {
                all.alert_webhook.url = "(set)".into();
            }
        }
        all
    }
}

fn is_live(when: &str) -> bool {
    when == "live"
}

/// The default goes through the parser of its type; that every one passes is tested.
#[allow(clippy::panic)]
fn default_of<T: Setting>(section: &str, key: &str, text: &str) -> T {
    match text
        .parse::<toml_edit::Value>()
        .ok()
        .and_then(|v| T::from_toml(&v))
    {
        Some(it) => it,
        None => panic!("the default of {section}.{key} is wrong: {text}"),
    }
}

choice! {
    /// What a commit survives.
    Durability {
        /// `kill -9`.
        Process = "process",
        /// A loss of power.
        Power = "power",
    }
}

choice! {
    /// Where the sensor stands.
    Watch {
        /// Open to the internet: scans and tried passwords are noise.
        Internet = "internet",
        /// Inside: every contact is news.
        Internal = "internal",
    }
}

choice! {
    /// Which logins are accepted.
    Policy {
        /// "never" on an internal network, "after-tries" towards the internet.
        Auto = "auto",
        /// An existing user is let in after some tries; the pair is remembered for its source.
        AfterTries = "after-tries",
        /// A list in the format of Cowrie's userdb.txt.
        List = "list",
        /// Nobody; everything is recorded.
        Never = "never",
        /// Only planted credentials.
        Tokens = "tokens",
    }
}

choice! {
    /// Whose world it is.
    Scope {
        /// "machine" on an internal network, "source" towards the internet.
        Auto = "auto",
        /// One for each source.
        Source = "source",
        /// One for everybody.
        Machine = "machine",
    }
}

choice! {
    /// What a connection that would leave a world meets. None ever leaves.
    Outside {
        /// No route.
        Unreachable = "unreachable",
        /// No answer.
        Timeout = "timeout",
        /// Refused.
        Refused = "refused",
        /// A stand-in accepts, and what is said to it is recorded.
        Sink = "sink",
    }
}

choice! {
    /// Form of a message to a web address.
    Form {
        /// Everything, as JSON (docs/alerts.md).
        Generic = "generic",
        /// As Slack and those who understand its format want it.
        Slack = "slack",
        /// As Discord wants it.
        Discord = "discord",
    }
}

choice! {
    /// Whether secrets that outsiders tried are shown.
    ShowSecrets {
        /// Shown on an internet sensor, masked on an internal one.
        Auto = "auto",
        /// Always shown.
        Always = "always",
        /// Never shown.
        Never = "never",
    }
}

settings! {
    /// The install.
    ["sensor"] sensor: Sensor {
        /// Name of this install in every event: letters, digits, '-', '_' and '.', at most 64.
        name: String = "\"turncoat\"", restart;
        /// User to become after ports are bound, when started with privileges. Empty: stay.
        user: String = "\"\"", restart;
        /// How often in a minute a process that dies is started anew; past it the program ends.
        restarts: u64 = "5", live;
    }
    /// What the sensor watches.
    ["watch"] watch: WatchSection {
        /// Where the sensor stands: decides what deserves an alarm, and whether tried secrets are shown.
        kind: Watch = "\"internet\"", live;
    }
    /// The record.
    ["record"] record: Record {
        /// What a commit survives: "process" (kill -9 of everything) or "power" (a loss of power; every commit waits for the disk).
        durability: Durability = "\"process\"", restart;
        /// How large the record may become; past it the oldest sessions go, whole.
        max_size: Size = "\"10GiB\"", live;
        /// How long closed sessions are kept.
        max_age: Span = "\"never\"", live;
        /// After this time a source's address becomes a keyed hash (an address in 2001:db8::/32).
        pseudonymise_after: Span = "\"never\"", live;
    }
    /// Privacy.
    ["privacy"] privacy: Privacy {
        /// Show the secrets that were tried: "auto" masks them on an internal network, where they may be a colleague's.
        show_secrets: ShowSecrets = "\"auto\"", live;
    }
    /// The SSH decoy.
    ["ssh"] ssh: Ssh {
        /// Where it listens. An empty list: nowhere.
        listen: Vec<SocketAddr> = "[\"0.0.0.0:2222\", \"[::]:2222\"]", restart;
        /// Connections that have not logged in, as sshd's MaxStartups: from so many on new ones are dropped by chance (in percent), from
        /// so many all; counted for each machine that a source sees. "off": none is dropped, and sshd_config says so.
        max_startups: String = "\"10:30:100\"", restart;
    }
    /// Who may log in by SSH.
    ["ssh.auth"] ssh_auth: SshAuth {
        /// Which logins are accepted: "auto", "after-tries", "list", "never" or "tokens".
        policy: Policy = "\"auto\"", restart;
        /// "after-tries": least number of tries.
        min_tries: u64 = "2", restart;
        /// "after-tries": greatest number of tries; each source has a number of its own between the two.
        max_tries: u64 = "5", restart;
        /// "list": a file in the format of Cowrie's userdb.txt (user:x:password a line, first match wins, * any, ! deny, /regex/i).
        file: String = "\"\"", restart;
        /// A refused password takes as long as with the real login (about two seconds). Shorter is faster for tests and easier to recognise.
        fail_delay: bool = "true", restart;
    }
    /// The identity that every decoy shows. What is empty is drawn from the install's secret.
    ["cover"] cover: Cover {
        /// "bastion", "backup" or "build".
        role: String = "\"\"", restart;
        /// Host name without domain.
        hostname: String = "\"\"", restart;
        /// Domain.
        domain: String = "\"\"", restart;
        /// Time zone, such as "Europe/Berlin".
        timezone: String = "\"\"", restart;
        /// Accounts that must exist.
        users: Vec<String> = "[]", restart;
        /// Files that must lie there, each "PATH = TEXT" or "PATH OWNER MODE <- FILE": the text, or what stands in a file of this host when the program starts; owner and mode may be left out (root, 0644). A file where the machine writes a fact of its own (/etc/hostname) is refused.
        files: Vec<String> = "[]", restart;
        /// Packages that must be installed. They come into the image when it is built; an image without one of them is refused.
        packages: Vec<String> = "[]", restart;
        /// The port that the machine says its sshd listens on. Where outsiders reach another one, it looks as if that were redirected.
        ssh_port: u64 = "22", restart;
    }
    /// What lies behind a login.
    ["world"] world: World {
        /// Whose world it is: "auto", "source" or "machine".
        scope: Scope = "\"auto\"", restart;
        /// What a connection that would leave meets: "unreachable", "timeout", "refused" or "sink".
        outside: Outside = "\"timeout\"", restart;
        /// Worlds in memory at once; beyond it the one unused for longest hibernates.
        most: u64 = "2048", restart;
        /// A world that nobody is in, and in which nothing is due within an hour, leaves memory after this time; it comes back when its source does. 0: only where there is no room.
        hibernate: Span = "\"15m\"", restart;
        /// Most time that running a world's journal may take so that it goes on as it was; past it the world comes back from its disk, which looks like a reboot.
        resume: Span = "\"10s\"", restart;
        /// Hibernated worlds are forgotten when nobody has come back for so long. 0: when their last session goes.
        keep: Span = "\"90d\"", restart;
        /// Threads that run worlds. 0: one for each processor.
        threads: u64 = "0", restart;
        /// Image that worlds start from, by the beginning of its identity. Empty: the default one.
        image: String = "\"\"", restart;
    }
    /// How sessions are understood.
    ["intel"] intel: Intel {
        /// A directory of files (*.toml) with rules for techniques, beside those that are built in; a rule with the id of a built-in one replaces it (docs/techniques.md). Empty: none.
        rules: String = "\"\"", restart;
        /// Files that say in which country and network an address is: lines of FIRST,LAST,COUNTRY or FIRST,LAST,NUMBER,HOLDER (docs/campaigns.md says where free ones are). Empty: not shown.
        networks: Vec<String> = "[]", restart;
    }
    /// What is done about campaigns.
    ["respond"] respond: Respond {
        /// Rules, each "CONDITION -> ACTION, ACTION" or { when = "CONDITION", then = ["ACTION", "ACTION"] }. Conditions are on event, decoy, port, source, technique, campaign.stage, campaign.sessions, campaign.sources and campaign.tokens; actions are "alert" and "block 24h". "default" stands for the rules that fit watch.kind (docs/responses.md).
        rules: Vec<RuleText> = "[\"default\"]", restart;
        /// Conditions under which nothing is ever done, such as "source in '10.0.0.7'" or "port == 2222 and technique == 'T1046' until 2027-01-31".
        ignore: Vec<String> = "[]", restart;
        /// Decide and record, but do nothing.
        dry_run: bool = "false", restart;
    }
    /// Closes the protected side to those who are behind a campaign; never the decoys.
    ["block"] block: Block {
        /// Push an nftables table (inet turncoat). Needs CAP_NET_ADMIN.
        enabled: bool = "false", restart;
        /// Networks that blocked sources must not reach, such as ["10.0.0.0/24"].
        protect: Vec<String> = "[]", restart;
        /// Keep the nftables table. Without it blocks are in the feed, and with the command, only.
        nftables: bool = "true", restart;
        /// A program that is started, as the program's user, for every change: "COMMAND block NETWORK SECONDS" and "COMMAND unblock NETWORK". Empty: none.
        command: String = "\"\"", restart;
        /// Networks that are never blocked, besides this host's own addresses, gateways, resolvers and whoever is logged in here by SSH.
        allow: Vec<String> = "[]", restart;
        /// Blocks at once.
        most: u64 = "10000", restart;
    }
    /// The console: the record and the campaigns in a browser. docs/console.md tells more.
    ["console"] console: Console {
        /// Where it listens. An empty list: nowhere. Anywhere but on loopback it wants tls_cert and tls_key.
        listen: Vec<SocketAddr> = "[\"127.0.0.1:4780\"]", restart;
        /// An argon2id hash, as `turncoat console password` prints it. Empty: only links that work once (`turncoat console link`).
        password: String = "\"\"", restart;
        /// How long a login lasts without use.
        idle: Span = "\"12h\"", restart;
        /// Names by which the console is reached, besides its addresses and localhost, such as ["decoys.example.net"].
        hosts: Vec<String> = "[]", restart;
        /// File with the certificate and what leads to its root, in PEM form.
        tls_cert: String = "\"\"", restart;
        /// File with the private key, in PEM form.
        tls_key: String = "\"\"", restart;
        /// Whoever shows it ("Authorization: Bearer TOKEN") may read the JSON API and the metrics; at least 16 characters. Empty: nobody may (the metrics: everybody on this machine).
        token: String = "\"\"", restart;
        /// Whoever shows it ("?token=TOKEN") may fetch the feed of blocked addresses; at least 16 characters. An intruder who reads the feed learns that he is known. Empty: nobody may.
        feed_token: String = "\"\"", restart;
    }
    /// How people are told of incidents. One message opens, updates are bundled, one closes.
    ["alert"] alert: Alert {
        /// Messages in an hour over all incidents; more wait. That a planted thing was used is never held back.
        hourly: u64 = "30", live;
        /// Least time between two messages of one incident.
        update: Span = "\"15m\"", live;
        /// Quiet time after which an incident is closed.
        close: Span = "\"1h\"", live;
        /// Without a sign of life from the record for so long, the process that sends raises the alarm by itself.
        silence: Span = "\"2m\"", restart;
        /// A message that its receiver has not taken for so long is given up.
        give_up: Span = "\"7d\"", live;
        /// Certificates that servers are trusted by, a file in PEM. Empty: the system's.
        ca: String = "\"\"", restart;
    }
    /// Alerts by e-mail.
    ["alert.mail"] alert_mail: AlertMail {
        /// Mail server: "smtps://HOST:465" (TLS from the start), "smtp://HOST:587" (STARTTLS, refused without it), or "smtp+plain://127.0.0.1:25" (no TLS: loopback only). Empty: off.
        server: String = "\"\"", restart;
        /// User to log in as. Empty: no login.
        user: String = "\"\"", restart;
        /// The user's password; better given as TURNCOAT_ALERT_MAIL_PASSWORD.
        password: String = "\"\"", restart;
        /// Sender's address.
        from: String = "\"\"", restart;
        /// Receivers' addresses.
        to: Vec<String> = "[]", restart;
    }
    /// Alerts to a web address.
    ["alert.webhook"] alert_webhook: AlertWebhook {
        /// Address that each message is posted to, https:// (http:// on loopback only). It may hold a secret. Empty: off.
        url: String = "\"\"", restart;
        /// Form of the message: "generic", "slack" or "discord".
        form: Form = "\"generic\"", restart;
        /// Sent as "Authorization: Bearer ...", where given.
        token: String = "\"\"", restart;
    }
    /// Alerts to a syslog server in the Common Event Format.
    ["alert.cef"] alert_cef: AlertCef {
        /// Where to: "udp://HOST:514", "tcp://HOST:601" or "tls://HOST:6514". Empty: off.
        to: String = "\"\"", restart;
    }
    /// The Telnet decoy.
    ["telnet"] telnet: Telnet {
        /// Where it listens, such as "0.0.0.0:2223". Off until asked for: a Debian server seldom has one. The machine then has inetd and
        /// telnetd, and its port 23 open: the image needs the packages (`turncoat image build +inetutils-telnetd +openbsd-inetd +rsyslog`).
        /// Logins are decided by `[ssh.auth]`.
        listen: Vec<SocketAddr> = "[]", restart;
    }
    /// A decoy for trying the record out: it says back each line that it is told.
    ["echo"] echo: Echo {
        /// Where it listens.
        listen: Vec<SocketAddr> = "[]", restart;
    }
    /// PROXY protocol, versions 1 and 2.
    ["proxy"] proxy: Proxy {
        /// Networks whose connections begin with a PROXY header that names the source. From anywhere else a header is what an intruder said.
        from: Vec<Network> = "[]", live;
    }
    /// Bounds. docs/limits.md has all of them with the worst case.
    ["limits"] limits: Limits {
        /// Connections at once, in all.
        connections: u64 = "4096", live;
        /// Connections at once from one source (an IPv4 address or an IPv6 /64).
        connections_per_source: u64 = "128", live;
        /// Time from accept until a login is complete.
        login_time: Span = "\"2m\"", live;
        /// Events in one second from one session, after a burst of as many: past it the session is not read and its world not run until the rate is kept again. 0: no bound.
        events_per_second: u64 = "2000", live;
        /// Bytes of one session's recording; past it the session is closed.
        recording: Size = "\"64MiB\"", live;
        /// Bytes of one world's journal (what came into it, for `world rerun`); past half of it, it loses what lies before its next checkpoint, and with `limits.checkpoints` = 0 it ends at the bound. 0: no journal.
        journal: Size = "\"32MiB\"", restart;
        /// Bytes of all checkpoints of one world (the world as it was when a session began, so that `world rerun` can begin there, and when it left memory, so that it wakes quickly); past it the oldest go. 0: no checkpoints.
        checkpoints: Size = "\"32MiB\"", restart;
        /// Bytes of one artifact that are kept.
        artifact: Size = "\"32MiB\"", live;
        /// Bytes that one session is sent.
        bytes_out_session: Size = "\"256MiB\"", live;
        /// Bytes that one source is sent in a day.
        bytes_out_source_day: Size = "\"1GiB\"", live;
        /// Bytes that all sources are sent in a day.
        bytes_out_day: Size = "\"20GiB\"", live;
    }
    /// Events as JSON lines, beside the record.
    ["output.jsonl"] output_jsonl: OutputJsonl {
        /// File to append to. Empty: off.
        path: String = "\"\"", restart;
        /// Size at which the file is moved to PATH.1, PATH.1 to PATH.2, and so on.
        rotate: Size = "\"100MiB\"", restart;
        /// How many moved files stay.
        keep: u64 = "5", restart;
    }
    /// Events in Cowrie's JSON format, so that its dashboards and pipelines work unchanged.
    ["output.cowrie"] output_cowrie: OutputCowrie {
        /// File to append to, such as "/var/log/turncoat/cowrie.json". Empty: off.
        path: String = "\"\"", restart;
        /// Size at which the file is moved to PATH.1, PATH.1 to PATH.2, and so on.
        rotate: Size = "\"100MiB\"", restart;
        /// How many moved files stay.
        keep: u64 = "5", restart;
    }
    /// Events to a syslog server (RFC 5424).
    ["output.syslog"] output_syslog: OutputSyslog {
        /// Where to: "udp://HOST:PORT", "tcp://HOST:PORT" or "tls://HOST:PORT". Empty: off.
        to: String = "\"\"", restart;
        /// "tls": a file of certificates (PEM) of the authorities to trust. Empty: the system's.
        ca: String = "\"\"", restart;
        /// Facility number: 16 is local0.
        facility: u64 = "16", restart;
    }
    /// A sign of life.
    ["heartbeat"] heartbeat: Heartbeat {
        /// Time between two heartbeat events.
        every: Span = "\"5m\"", live;
        /// An http:// or https:// address that is fetched with each heartbeat, so that a silent sensor is noticed. Empty: off.
        url: String = "\"\"", restart;
        /// "https": a file of certificates (PEM) of the authorities to trust. Empty: the system's.
        ca: String = "\"\"", restart;
    }
}
