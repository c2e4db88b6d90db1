-- One account's mail: version 1. docs/architecture.md tells what each table is for.

CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

-- attrs: 1 = \Noselect. Counters are those of the rows below and change in the same transaction.
CREATE TABLE mailbox(
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  parent         INTEGER NOT NULL DEFAULT 0,
  name           TEXT    NOT NULL,
  uidvalidity    INTEGER NOT NULL,
  uidnext        INTEGER NOT NULL DEFAULT 1,
  modseq         INTEGER NOT NULL DEFAULT 1,
  recent_from    INTEGER NOT NULL DEFAULT 1,
  attrs          INTEGER NOT NULL DEFAULT 0,
  special_use    TEXT    NOT NULL DEFAULT '',
  seen_per_user  INTEGER NOT NULL DEFAULT 0,
  messages       INTEGER NOT NULL DEFAULT 0,
  unseen         INTEGER NOT NULL DEFAULT 0,
  deleted        INTEGER NOT NULL DEFAULT 0,
  deleted_bytes  INTEGER NOT NULL DEFAULT 0,
  bytes          INTEGER NOT NULL DEFAULT 0,
  keywords       TEXT    NOT NULL DEFAULT '',
  expunged_floor INTEGER NOT NULL DEFAULT 0,
  expunged_rows  INTEGER NOT NULL DEFAULT 0,
  UNIQUE(parent, name)
);

-- What was deleted, for those who still read it and for those who want it back.
CREATE TABLE removed_mailbox(
  id          INTEGER PRIMARY KEY,
  path        TEXT    NOT NULL,
  uidvalidity INTEGER NOT NULL,
  uidnext     INTEGER NOT NULL,
  special_use TEXT    NOT NULL,
  keywords    TEXT    NOT NULL,
  gone        INTEGER NOT NULL,
  at          INTEGER NOT NULL
);

CREATE TABLE subscription(
  name TEXT PRIMARY KEY
) WITHOUT ROWID;

-- kind: 1 create, 2 delete, 3 rename, 4 subscribe, 5 unsubscribe, 6 rights, 7 metadata.
CREATE TABLE mailbox_change(
  modseq   INTEGER NOT NULL,
  mbox     INTEGER NOT NULL,
  kind     INTEGER NOT NULL,
  name     TEXT    NOT NULL,
  old_name TEXT,
  PRIMARY KEY(modseq, mbox, kind, name)
) WITHOUT ROWID;

CREATE TABLE message(
  mbox       INTEGER NOT NULL,
  uid        INTEGER NOT NULL,
  modseq     INTEGER NOT NULL,
  flagset    INTEGER NOT NULL,
  idate      INTEGER NOT NULL,
  idate_zone INTEGER NOT NULL,
  saved      INTEGER NOT NULL,
  size       INTEGER NOT NULL,
  cid        INTEGER NOT NULL,
  PRIMARY KEY(mbox, uid)
) WITHOUT ROWID;

-- One row for 1,024 UIDs. members: which UIDs from lo on are there, one bit each; NULL when it is the first `count`.
CREATE TABLE span(
  mbox          INTEGER NOT NULL,
  lo            INTEGER NOT NULL,
  count         INTEGER NOT NULL,
  unseen        INTEGER NOT NULL,
  deleted       INTEGER NOT NULL,
  deleted_bytes INTEGER NOT NULL,
  bytes         INTEGER NOT NULL,
  max_modseq    INTEGER NOT NULL,
  members       BLOB,
  PRIMARY KEY(mbox, lo)
) WITHOUT ROWID;

CREATE TABLE flagset(
  id    INTEGER PRIMARY KEY AUTOINCREMENT,
  bits  INTEGER NOT NULL,
  names TEXT    NOT NULL,
  UNIQUE(bits, names)
);

-- Expunged messages, readable for sessions that have not been told and for `undelete`. gone: the modseq that took them.
CREATE TABLE removed(
  mbox       INTEGER NOT NULL,
  uid        INTEGER NOT NULL,
  modseq     INTEGER NOT NULL,
  flagset    INTEGER NOT NULL,
  idate      INTEGER NOT NULL,
  idate_zone INTEGER NOT NULL,
  saved      INTEGER NOT NULL,
  size       INTEGER NOT NULL,
  cid        INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  gone       INTEGER NOT NULL,
  PRIMARY KEY(mbox, uid)
) WITHOUT ROWID;
CREATE INDEX removed_at ON removed(at);

CREATE TABLE expunged(
  mbox   INTEGER NOT NULL,
  modseq INTEGER NOT NULL,
  lo     INTEGER NOT NULL,
  hi     INTEGER NOT NULL,
  PRIMARY KEY(mbox, modseq, lo)
) WITHOUT ROWID;

CREATE TABLE seen(
  mbox   INTEGER NOT NULL,
  who    INTEGER NOT NULL,
  runs   TEXT    NOT NULL,
  modseq INTEGER NOT NULL,
  PRIMARY KEY(mbox, who)
) WITHOUT ROWID;

-- place: 0 = inline in body, 1 = the file named. refs: rows of message and removed together.
CREATE TABLE content(
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  hash   BLOB    NOT NULL UNIQUE,
  refs   INTEGER NOT NULL,
  size   INTEGER NOT NULL,
  place  INTEGER NOT NULL,
  stored INTEGER NOT NULL,
  file   TEXT
);
CREATE INDEX content_unused ON content(id) WHERE refs = 0;

-- has_8bit: some header has octets above 127, of which clients that read UTF-8 are told otherwise.
CREATE TABLE structure(
  cid           INTEGER PRIMARY KEY,
  version       INTEGER NOT NULL,
  envelope      BLOB    NOT NULL,
  bodystructure BLOB    NOT NULL,
  parts         BLOB    NOT NULL,
  has_8bit      INTEGER NOT NULL,
  preview       TEXT
);

-- thread: which thread the message was found to belong to when it came; never changes (RFC 8474 §5.2).
CREATE TABLE sortkey(
  cid       INTEGER PRIMARY KEY,
  thread    INTEGER NOT NULL,
  sent      INTEGER,
  sent_zone INTEGER,
  subject   TEXT NOT NULL,
  is_reply  INTEGER NOT NULL,
  from_     TEXT NOT NULL,
  to_       TEXT NOT NULL,
  cc        TEXT NOT NULL,
  from_name TEXT NOT NULL,
  to_name   TEXT NOT NULL
);

-- role: 0 the message's own id, n > 0 the n-th of References, 32767 In-Reply-To. In the key, so that whose own id it
-- is can be found at once, however many refer to it.
CREATE TABLE msgref(
  idhash INTEGER NOT NULL,
  cid    INTEGER NOT NULL,
  role   INTEGER NOT NULL,
  PRIMARY KEY(idhash, role, cid)
) WITHOUT ROWID;
CREATE INDEX msgref_cid ON msgref(cid);

CREATE TABLE body(
  id   INTEGER PRIMARY KEY,
  data BLOB NOT NULL
);

CREATE TABLE acl(
  mbox   INTEGER NOT NULL,
  who    TEXT    NOT NULL,
  rights TEXT    NOT NULL,
  PRIMARY KEY(mbox, who)
) WITHOUT ROWID;

CREATE TABLE annotation(
  mbox  INTEGER NOT NULL,
  who   TEXT    NOT NULL,
  entry TEXT    NOT NULL,
  value BLOB    NOT NULL,
  PRIMARY KEY(mbox, who, entry)
) WITHOUT ROWID;

CREATE TABLE urlauth(
  mbox INTEGER NOT NULL,
  who  TEXT    NOT NULL,
  key  BLOB    NOT NULL,
  PRIMARY KEY(mbox, who)
) WITHOUT ROWID;

-- Limits that differ from the configured ones; NULL: none at all. What is used stands in the counters of mailboxes.
CREATE TABLE quota(
  resource TEXT PRIMARY KEY,
  allowed  INTEGER
) WITHOUT ROWID;

INSERT INTO meta(key, value) VALUES ('schema', 1), ('modseq', 1), ('uidvalidity', 0);
