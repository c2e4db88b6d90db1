"""The clients of watchers.sh: what waiting costs the server, and how soon those who wait are told."""

import asyncio
import os
import select
import socket
import ssl
import statistics
import sys
import time

WATCHERS = 100
# An Argon2 hash each: more at once only wait for one another, and a password queue that is full says so.
LOGINS = 2


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def login(cls, user, tls=False):
        context = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = cls(*await asyncio.open_connection("127.0.0.1", 12293 if tls else 12243, ssl=context))
        await client.reader.readline()
        await client.command(f"LOGIN {user} pw")
        return client

    def send(self, text):
        self.writer.write(text.encode())

    async def until(self, *starts):
        while True:
            line = (await self.reader.readline()).decode()
            assert line, "the server closed the connection"
            if line.startswith(starts):
                return line

    async def command(self, text):
        self.send(f"t {text}\r\n")
        line = await self.until("t ")
        assert line.startswith("t OK"), line
        return line

    def socket(self):
        """The connection without asyncio, which is done with it. Blocking."""
        self.writer.transport.pause_reading()
        copy = socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))
        copy.setblocking(True)
        return copy

    async def idle(self, mailbox="INBOX"):
        await self.command(f"SELECT {mailbox}")
        self.send("t IDLE\r\n")
        await self.until("+")


async def all_of(make, count):
    free = asyncio.Semaphore(LOGINS)

    async def one(n):
        async with free:
            return await make(n)

    return await asyncio.gather(*(one(n) for n in range(count)))


def anonymous_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


async def memory(user, how, pid, count):
    tls = how == "tls"
    first = await Client.login(user, tls)
    await first.idle()

    async def another(_):
        client = await Client.login(user, tls)
        await client.idle()
        return client

    # What the first ones bring along (an account, a mailbox, connections) is not theirs alone.
    kept = await all_of(another, 50)
    await asyncio.sleep(6)
    before = anonymous_kib(pid)
    kept += await all_of(another, count)
    await asyncio.sleep(6)
    after = anonymous_kib(pid)
    print(f"{count} more in IDLE, {how}, mailbox {user}: {(after - before) / count:.1f} KiB each ({before} to {after} KiB)")


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def clock(watchers, writer, appends):
    """How long each watcher waited for each message, in ms, and the first of them. Without asyncio, whose own work for a
    hundred lines takes as long as the server's."""
    message = b"From: a@b.test\r\nSubject: news\r\n\r\n" + b"x" * 60 + b"\r\n"
    sockets = {client.fileno(): client for client in watchers}
    poll = select.epoll()
    for handle in sockets:
        poll.register(handle, select.EPOLLIN)
    each, first = [], []
    for _ in range(appends):
        writer.sendall(b"t APPEND INBOX {%d}\r\n" % len(message))
        read_until(writer, b"+ ")
        time.sleep(0.02)
        heard = dict.fromkeys(sockets, b"")
        times = []
        begun = time.perf_counter()
        writer.sendall(message + b"\r\n")
        while len(times) < len(sockets):
            for handle, _ in poll.poll(10):
                before = heard[handle]
                heard[handle] = before + sockets[handle].recv(4096)
                assert heard[handle] != before, "the server closed the connection"
                if b"EXISTS\r\n" in heard[handle] and b"EXISTS\r\n" not in before:
                    times.append(1000 * (time.perf_counter() - begun))
        read_until(writer, b"t OK")
        each += times
        first.append(times[0])
    return each, first


def read_until(connection, text):
    heard = b""
    while not (text in heard and heard.endswith(b"\r\n")):
        piece = connection.recv(4096)
        assert piece, "the server closed the connection"
        heard += piece


async def push(kind, accounts, appends):
    async def bystander(n):
        client = await Client.login(f"w{n + 1}")
        await client.idle()
        return client

    async def watcher(_):
        client = await Client.login("watched")
        if kind == "IDLE":
            await client.idle()
        else:
            await client.command("SELECT INBOX")
            await client.command("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))")
        return client

    bystanders = await all_of(bystander, accounts)
    watchers = await all_of(watcher, WATCHERS)
    writer = await Client.login("watched")
    each, first = clock([client.socket() for client in watchers], writer.socket(), appends)
    print(
        f"push by {kind}, {accounts} idlers elsewhere, {WATCHERS} here, {appends} messages: first told p50 {statistics.median(first):.2f} ms, "
        f"p99 {percentile(first, 0.99):.2f} ms; each of the {WATCHERS} p50 {statistics.median(each):.2f} ms, p99 {percentile(each, 0.99):.2f} ms"
    )
    del bystanders


def sync(folder):
    path = os.path.join(folder, "sync-test")
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    times = []
    for n in range(500):
        begun = time.perf_counter()
        os.pwrite(handle, os.urandom(8192), 8192 * n)
        os.fdatasync(handle)
        times.append(1000 * (time.perf_counter() - begun))
    os.close(handle)
    os.unlink(path)
    print(f"{statistics.median(times):.2f} ms")


if sys.argv[1] == "sync":
    sync(sys.argv[2])
elif sys.argv[1] == "memory":
    asyncio.run(memory(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
else:
    asyncio.run(push(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
