-- The first schema. A migration, once released, is never edited: the next one is a new file.

-- Facts about this record: small, by name.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sensor (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- One row a session; its events carry only what differs from it.
CREATE TABLE session (
    id        INTEGER PRIMARY KEY,
    uuid      TEXT NOT NULL UNIQUE,
    sensor    INTEGER NOT NULL REFERENCES sensor(id),
    world     TEXT,
    src_ip    TEXT,
    src_port  INTEGER,
    dst_ip    TEXT,
    dst_port  INTEGER,
    decoy     TEXT,
    opened    INTEGER NOT NULL,            -- nanoseconds since 1970, UTC
    closed    INTEGER,                     -- NULL while it is open
    reason    TEXT,                        -- why it was closed
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    events    INTEGER NOT NULL DEFAULT 0,
    attempts  INTEGER NOT NULL DEFAULT 0,  -- login attempts
    logins    INTEGER NOT NULL DEFAULT 0,  -- of them, let in
    user      BLOB,                        -- the user that was let in, as sent
    client    BLOB,                        -- the client's version, as sent
    commands  INTEGER NOT NULL DEFAULT 0,
    artifacts INTEGER NOT NULL DEFAULT 0,
    bytes_in  INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    recorded  INTEGER NOT NULL DEFAULT 0   -- bytes of the recording, before compression
);
CREATE INDEX session_opened ON session(opened);
CREATE INDEX session_source ON session(src_ip, opened);
CREATE INDEX session_open ON session(id) WHERE closed IS NULL;

CREATE TABLE event (
    seq      INTEGER PRIMARY KEY,
    time     INTEGER NOT NULL,             -- nanoseconds since 1970, UTC
    kind     TEXT NOT NULL,
    session  INTEGER REFERENCES session(id),
    sensor   INTEGER NOT NULL REFERENCES sensor(id),
    world    TEXT,                         -- these seven only where they differ from the session's
    src_ip   TEXT,
    src_port INTEGER,
    dst_ip   TEXT,
    dst_port INTEGER,
    decoy    TEXT,
    fields   TEXT NOT NULL                 -- the fields of the kind, JSON, as in docs/events.md
);
CREATE INDEX event_session ON event(session) WHERE session IS NOT NULL;
CREATE INDEX event_kind ON event(kind, seq);
CREATE INDEX event_source ON event(src_ip) WHERE src_ip IS NOT NULL;

-- What outsiders typed and named. Row ids are event numbers; the text itself is in the events.
CREATE VIRTUAL TABLE typed USING fts5(text, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 0');

CREATE TABLE artifact (
    sha256 TEXT PRIMARY KEY,
    size   INTEGER NOT NULL,               -- bytes kept
    first  INTEGER NOT NULL                -- when it was first seen, nanoseconds since 1970
) WITHOUT ROWID;
CREATE INDEX artifact_first ON artifact(first);

-- Which session brought which artifact.
CREATE TABLE brought (
    session INTEGER NOT NULL REFERENCES session(id),
    sha256  TEXT NOT NULL,
    PRIMARY KEY (session, sha256)
) WITHOUT ROWID;
CREATE INDEX brought_sha256 ON brought(sha256);

-- How far each reader of the record (an output, the campaigns) has come.
CREATE TABLE cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, position TEXT) WITHOUT ROWID;

-- Messages for the outside that must survive everything. `key` makes a message once-only.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY,
    way      TEXT NOT NULL,
    key      TEXT NOT NULL UNIQUE,
    payload  TEXT NOT NULL,
    created  INTEGER NOT NULL,
    due      INTEGER NOT NULL,             -- not before; nanoseconds since 1970
    attempts INTEGER NOT NULL DEFAULT 0,
    error    TEXT
);
CREATE INDEX outbox_due ON outbox(way, due);

-- The record as people read it: `SELECT * FROM events WHERE kind = 'auth.attempt'`.
CREATE VIEW events AS
SELECT e.seq,
       strftime('%Y-%m-%dT%H:%M:%S', e.time / 1000000000, 'unixepoch') || printf('.%09dZ', e.time % 1000000000) AS time,
       n.name AS sensor, e.kind, s.uuid AS session, coalesce(e.world, s.world) AS world,
       coalesce(e.src_ip, s.src_ip) AS src_ip, coalesce(e.src_port, s.src_port) AS src_port,
       coalesce(e.dst_ip, s.dst_ip) AS dst_ip, coalesce(e.dst_port, s.dst_port) AS dst_port,
       coalesce(e.decoy, s.decoy) AS decoy, e.fields
FROM event e JOIN sensor n ON n.id = e.sensor LEFT JOIN session s ON s.id = e.session;
