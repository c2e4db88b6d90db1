-- Made in an account's mail.db by its first import, and of use to imports only.

-- What was taken from elsewhere, by a hash of where it stood there: so that taking it again does not double it.
CREATE TABLE IF NOT EXISTS imported(
  mbox INTEGER NOT NULL,
  key  BLOB    NOT NULL,
  uid  INTEGER NOT NULL,
  PRIMARY KEY(mbox, key)
) WITHOUT ROWID;

-- UIDVALIDITY values that came from elsewhere, and (is_own = 1) the first this account ever gave by itself: between
-- that one and meta's 'uidvalidity' every value may have been given.
CREATE TABLE IF NOT EXISTS foreign_validity(
  value  INTEGER PRIMARY KEY,
  is_own INTEGER NOT NULL
);

-- A folder of another server, by a hash of where it stands, whose mail comes into a mailbox. mark: its HIGHESTMODSEQ up to
-- which all changes were followed; 0 when nobody knows.
CREATE TABLE IF NOT EXISTS import_source(
  id   INTEGER PRIMARY KEY,
  mbox INTEGER NOT NULL,
  key  BLOB    NOT NULL,
  mark INTEGER NOT NULL,
  UNIQUE(mbox, key)
);

-- What was taken from such a folder: the UIDs there and here, and the modseq the message had here when it was last made
-- what it is there. A larger one today says that it was changed here.
CREATE TABLE IF NOT EXISTS followed(
  source INTEGER NOT NULL,
  there  INTEGER NOT NULL,
  here   INTEGER NOT NULL,
  modseq INTEGER NOT NULL,
  PRIMARY KEY(source, there)
) WITHOUT ROWID;
