-- Worlds that can be gone on with: what the decoys want to know of each, and how much of its journal is committed.
CREATE TABLE world (
    uuid    TEXT PRIMARY KEY,
    journal INTEGER NOT NULL DEFAULT 0,    -- bytes; what the file holds beyond was never answered
    kept    TEXT                           -- JSON of the decoys; NULL: the world is over
) WITHOUT ROWID;
