#!/usr/bin/env python3
"""Python's imaplib: one round through the commands, then IDLE-less watching by a second connection.

Needs IMAP_HOST IMAP_PORT IMAP_USER IMAP_PASSWORD and an empty account.
"""
import imaplib
import os
import time

HOST, PORT = os.environ["IMAP_HOST"], int(os.environ["IMAP_PORT"])


def connect():
    server = imaplib.IMAP4(HOST, PORT, timeout=30)
    ok(server.login(os.environ["IMAP_USER"], os.environ["IMAP_PASSWORD"]))
    return server


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def message(number, size=0):
    head = f"From: ada@example.org\r\nSubject: message {number}\r\nMessage-ID: <m{number}@example.org>\r\n\r\n"
    return (head + "x" * 70 + "\r\n" + ("y" * 76 + "\r\n") * (size // 78)).encode()


first, second = connect(), connect()
assert "IMAP4REV1" in first.capabilities, first.capabilities

# Mailboxes, with a name beyond ASCII in modified UTF-7.
ok(first.create('"Projects/Gr&APYA3w-e"'))
assert any(b'"/"' in line and b"Gr&APYA3w-e" in line for line in ok(first.list('""', '"Projects/*"')))
ok(first.rename('"Projects/Gr&APYA3w-e"', "Projects/plain"))
ok(first.subscribe("Projects/plain"))
assert any(b"Projects/plain" in line for line in ok(first.lsub('""', '"Projects/*"')))

# Messages small and large come back octet for octet, with date and flags.
date = imaplib.Time2Internaldate(1_700_000_000)
for number, size in enumerate([0, 5_000, 300_000, 3_000_000], start=1):
    ok(first.append("Projects/plain", r"(\Seen $Work)", date, message(number, size)))
ok(first.select("Projects/plain"))
for number, size in enumerate([0, 5_000, 300_000, 3_000_000], start=1):
    (head, body), tail = ok(first.fetch(str(number), "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
    assert body == message(number, size), f"message {number} came back otherwise"
    text = head + tail
    assert b"\\Seen" in text and b"$Work" in text, text
    assert time.mktime(imaplib.Internaldate2tuple(text)) == 1_700_000_000, text
    assert b"RFC822.SIZE %d" % len(body) in text, text

# Search, store, copy, and what a second connection is told of it.
assert ok(first.search(None, "SUBJECT", '"message 3"'))[0] == b"3"
assert ok(first.uid("SEARCH", "LARGER", "4000", "KEYWORD", "$Work"))[0].split() == [b"2", b"3", b"4"]
assert ok(second.select("Projects/plain")) == [b"4"]
ok(first.store("2", "+FLAGS", r"(\Deleted)"))
ok(first.copy("1:2", "INBOX"))
ok(first.expunge())
second.noop()
assert second.untagged_responses.get("EXPUNGE") == [b"2"], second.untagged_responses
assert ok(second.search(None, "ALL"))[0].split() == [b"1", b"2", b"3"]
assert ok(second.status("INBOX", "(MESSAGES UIDNEXT)")) == [b"INBOX (MESSAGES 2 UIDNEXT 3)"]

# A wrong turn is refused and does no harm.
try:
    answer = first.select("no such mailbox".join('""'))
    assert answer[0] == "NO", answer
    first.fetch("1", "(FLAGS)")
    raise SystemExit("a FETCH without a mailbox was answered")
except imaplib.IMAP4.error:
    pass

ok(second.close())
ok(second.delete("Projects/plain"))
for server in (first, second):
    assert server.logout()[0] == "BYE"
print("imaplib: created, appended, fetched, searched, stored, copied, expunged")
