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
