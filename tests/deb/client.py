#!/usr/bin/env python3
"""A mail program for the tests of the package. The passwords and names are those of the scripts beside it.

usage: client.py tour PASSWORD         everything a first day needs, over TLS and over STARTTLS
       client.py keep PASSWORD SUBJECT appends a message to INBOX
       client.py count PASSWORD [USER] says how many messages are in INBOX
       client.py certificate           says which certificate the server shows
       client.py knock LOST            connects again and again until its input ends: says that it does, and then how often;
                                       at most LOST connections may end without a word
       client.py deliver SOCKET        delivers one message by LMTP
"""
import imaplib
import select
import socket
import ssl
import sys
import time

HOST = "localhost"
# The package made the certificate itself.
TLS = ssl._create_unverified_context()


def fine(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def log_in(password, starttls=False, user="alice"):
    if starttls:
        client = imaplib.IMAP4(HOST, 143)
        fine(client.starttls(TLS))
    else:
        client = imaplib.IMAP4_SSL(HOST, 993, ssl_context=TLS)
    fine(client.login(user, password))
    return client


def append(client, mailbox, subject):
    fine(client.append(mailbox, r"(\Seen)", None, f"Subject: {subject}\r\n\r\na body\r\n".encode()))


def tour(password):
    for starttls in (False, True):
        client, other = log_in(password, starttls), log_in(password, not starttls)
        fine(client.create("Work"))
        assert any(b"Work" in line for line in fine(client.list())), "LIST"
        append(client, "Work", "first")
        # Over 128 KiB a body is a file of its own.
        append(client, "Work", "large\r\n\r\n" + "x" * 76 * 4000)
        assert fine(client.select("Work")) == [b"2"], "SELECT"
        assert b"Subject: first" in fine(client.fetch("1", "(FLAGS BODY[])"))[0][1], "FETCH"
        assert len(fine(client.fetch("2", "(BODY[])"))[0][1]) > 300_000, "FETCH of a large body"
        assert fine(client.search(None, "SUBJECT", "first")) == [b"1"], "SEARCH"
        idle(client, lambda: append(other, "Work", "pushed"))
        client.close()
        fine(client.delete("Work"))
        client.logout()
        other.logout()


def idle(client, happen):
    client.send(b"i1 IDLE\r\n")
    assert client.readline().startswith(b"+"), "IDLE"
    happen()
    assert client.readline() == b"* 3 EXISTS\r\n", "nothing was pushed"
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"i1 OK"):
        pass


def knock(most_lost):
    times, slowest, lost = 0, 0.0, 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.monotonic()
        # In turns: one port greets at once, the other after a handshake.
        for port in (143, 993):
            with socket.create_connection((HOST, port), timeout=30) as stream:
                try:
                    if port == 993:
                        stream = TLS.wrap_socket(stream)
                    with stream:
                        greeting = stream.recv(1000)
                except (ConnectionError, ssl.SSLEOFError):
                    greeting = b""
            if not greeting and lost < most_lost:
                # Whom a server had let in that is killed without warning.
                lost += 1
                continue
            # Who was let in just before a stop is told so, and comes again; nobody is turned away without a word.
            assert greeting.startswith((b"* OK ", b"* BYE [UNAVAILABLE]")), greeting
        if not times:
            print("somebody connects", flush=True)
        times += 1
        slowest = max(slowest, time.monotonic() - began)
    print(f"{times} times, {slowest:.2f} s at most, {lost} lost")


def deliver(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    file = stream.makefile("rwb")
    for line, code in [
        (None, b"220"),
        (b"LHLO here", b"250"),
        (b"MAIL FROM:<>", b"250"),
        (b"RCPT TO:<alice>", b"250"),
        (b"DATA", b"354"),
        (b"Subject: delivered\r\n\r\nby LMTP\r\n.", b"250"),
        (b"QUIT", b"221"),
    ]:
        if line:
            file.write(line + b"\r\n")
            file.flush()
        reply = file.readline()
        while reply[3:4] == b"-":
            reply = file.readline()
        assert reply.startswith(code), (line, reply)


order, *words = sys.argv[1:]
if order == "tour":
    tour(*words)
elif order == "keep":
    append(log_in(words[0]), "INBOX", words[1])
elif order == "count":
    print(fine(log_in(words[0], user=(words + ["alice"])[1]).select("INBOX"))[0].decode())
elif order == "certificate":
    print(ssl.get_server_certificate((HOST, 993)))
elif order == "knock":
    knock(int(words[0]))
elif order == "deliver":
    deliver(*words)
else:
    sys.exit(__doc__)
