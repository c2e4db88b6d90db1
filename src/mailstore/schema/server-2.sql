-- server.db, from schema 1 to schema 2: app passwords, users who may act for others, keys of the server's own.
ALTER TABLE user ADD COLUMN master INTEGER NOT NULL DEFAULT 0;
CREATE TABLE app_password (
    user     TEXT NOT NULL REFERENCES user(name),
    device   TEXT NOT NULL,
    selector TEXT NOT NULL,
    hash     TEXT NOT NULL,
    scram    TEXT,
    created  INTEGER NOT NULL,
    used     INTEGER,
    PRIMARY KEY (user, device)
) WITHOUT ROWID;
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
UPDATE meta SET value = 2 WHERE key = 'schema';
