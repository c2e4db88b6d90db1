-- Contents with a binary part that clients are told in base64 (RFC 3516 §6); made with the first of them.
CREATE TABLE IF NOT EXISTS retold(
  cid    INTEGER PRIMARY KEY,
  -- Octets that are told more than are stored.
  growth INTEGER NOT NULL
);
