-- server.db: who there is. Everything about mail lies in the accounts' own files.
-- AUTOINCREMENT: the number of an account is the name of its directory and must never be given out twice.
CREATE TABLE account (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    created INTEGER NOT NULL,           -- seconds since 1970
    removed INTEGER                     -- the same; the mail may still lie on the disk
);
CREATE TABLE user (
    name     TEXT PRIMARY KEY,          -- in lower case
    account  INTEGER NOT NULL REFERENCES account(id),
    disabled INTEGER NOT NULL DEFAULT 0,
    created  INTEGER NOT NULL,
    master   INTEGER NOT NULL DEFAULT 0 -- may act for others
) WITHOUT ROWID;
CREATE TABLE credential (
    user  TEXT NOT NULL REFERENCES user(name),
    kind  TEXT NOT NULL,                -- 'argon2id', 'scram-sha-256', 'imported'
    value TEXT NOT NULL,
    PRIMARY KEY (user, kind)
) WITHOUT ROWID;
CREATE TABLE app_password (
    user     TEXT NOT NULL REFERENCES user(name),
    device   TEXT NOT NULL,             -- what its owner calls it
    selector TEXT NOT NULL,             -- its first letters, by which the one hash to check is found
    hash     TEXT NOT NULL,             -- argon2id
    scram    TEXT,                      -- a verifier with the salt of the user's other ones
    created  INTEGER NOT NULL,
    used     INTEGER,                   -- when last; NULL: never
    PRIMARY KEY (user, device)
) WITHOUT ROWID;
CREATE TABLE alias (
    name TEXT NOT NULL,                 -- an address that is delivered to a user
    user TEXT NOT NULL REFERENCES user(name),
    PRIMARY KEY (name, user)
) WITHOUT ROWID;
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,             -- what this key of the server's own is for
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('schema', 2);
