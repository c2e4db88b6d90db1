#!/usr/bin/env python3
"""Every way to log in, spoken by programs that share no code with the server: Python's ssl and hmac, openssl, curl.
Needs TLS_PORT, PROXY_PORT, SERVER_PID, FOLDER (ca.pem, client.pem, client.key, issuer.key; key.pem is the server's),
IMAP_USER and IMAP_PASSWORD; tests/it/logins.rs sets it all up. 77 means that openssl is not installed."""
import base64, hashlib, hmac, json, os, random, shutil, socket, ssl, struct, subprocess, sys, time

HOST = "127.0.0.1"
TLS_PORT, PROXY_PORT = int(os.environ["TLS_PORT"]), int(os.environ["PROXY_PORT"])
FOLDER, USER, PASSWORD = os.environ["FOLDER"], os.environ["IMAP_USER"], os.environ["IMAP_PASSWORD"]

if not shutil.which("openssl"):
    print("skipped: openssl is not installed")
    sys.exit(77)


def b64(octets):
    return base64.b64encode(octets).decode()


def url64(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


class Imap:
    """Lines over whatever reads and writes."""

    def __init__(self, reader, writer, greet=True):
        self.reader, self.writer, self.number = reader, writer, 0
        if greet:
            self.greeting = self.line()
            assert self.greeting.startswith("* OK"), self.greeting

    def line(self):
        line = self.reader.readline()
        assert line, "the server hung up"
        return line.decode().rstrip("\r\n")

    def send(self, text):
        self.writer.write(text.encode() + b"\r\n")
        self.writer.flush()

    def order(self, text, *answers):
        """Sends a command; gives each answer to a challenge; returns the tagged line without the tag."""
        self.number += 1
        tag, answers = f"p{self.number}", list(answers)
        self.send(f"{tag} {text}")
        while True:
            line = self.line()
            if line.startswith("+ "):
                assert answers, f"a challenge too many: {line}"
                answer = answers.pop(0)
                challenge = base64.b64decode(line[2:])
                self.send(answer(challenge) if callable(answer) else answer)
            elif line.startswith(tag + " "):
                return line[len(tag) + 1:]


def tls(version=None, name="localhost", certificate=False):
    context = ssl.create_default_context(cafile=f"{FOLDER}/ca.pem")
    context.check_hostname = name == "localhost"
    context.set_alpn_protocols(["imap"])
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(f"{FOLDER}/client.pem", f"{FOLDER}/client.key")
    return context.wrap_socket(socket.create_connection((HOST, TLS_PORT), 20), server_hostname=name)


def over(sock):
    return Imap(sock.makefile("rb"), sock.makefile("wb"))


class Scram:
    """RFC 5802 with SHA-256, written from the RFC."""

    def __init__(self, header, bound, password=PASSWORD, user=USER):
        self.header, self.bound, self.password = header, bound, password
        self.bare = f"n={user},r={b64(os.urandom(18))}"
        self.first = b64((header + self.bare).encode())
        self.proved = False

    def final(self, challenge):
        server_first = challenge.decode()
        fields = dict(field.split("=", 1) for field in server_first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        mac = lambda key, text: hmac.new(key, text, "sha256").digest()
        without = f"c={b64(self.header.encode() + self.bound)},r={fields['r']}"
        message = f"{self.bare},{server_first},{without}".encode()
        client_key = mac(salted, b"Client Key")
        signature = mac(hashlib.sha256(client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = f"v={b64(mac(mac(salted, b'Server Key'), message))}"
        return b64(f"{without},p={b64(proof)}".encode())

    def verify(self, challenge):
        assert challenge.decode() == self.expected, "the server does not know the password"
        self.proved = True
        return ""

    def run(self, imap, mechanism):
        told = imap.order(f"AUTHENTICATE {mechanism} {self.first}", self.final, self.verify)
        assert told.startswith("OK") == self.proved, told
        return told


def scram():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        sock = tls(version)
        imap = over(sock)
        assert "AUTH=SCRAM-SHA-256-PLUS" in imap.greeting and "AUTH=SCRAM-SHA-256 " in imap.greeting, imap.greeting
        end_point = hashlib.sha256(sock.getpeercert(binary_form=True)).digest()
        plus = lambda bound, **more: Scram("p=tls-server-end-point,,", bound, **more)
        wrong = plus(end_point, password="wrong").run(imap, "SCRAM-SHA-256-PLUS")
        assert wrong.startswith("NO [AUTHENTICATIONFAILED] "), wrong
        for refused in (
            plus(bytes(32)).run(imap, "SCRAM-SHA-256-PLUS"),
            plus(end_point, user="nobody").run(imap, "SCRAM-SHA-256-PLUS"),
        ):
            assert refused == wrong, (refused, wrong)
        for header, mechanism in (("y,,", "SCRAM-SHA-256"), ("n,,", "SCRAM-SHA-256-PLUS"), ("p=tls-unique,,", "SCRAM-SHA-256-PLUS")):
            told = Scram(header, b"").run(imap, mechanism)
            assert told.startswith("NO [AUTHENTICATIONFAILED]"), (header, told)
        assert plus(end_point).run(imap, "SCRAM-SHA-256-PLUS").startswith("OK")
        assert imap.order("SELECT INBOX").startswith("OK")
        assert Scram("n,,", b"").run(over(tls(version)), "SCRAM-SHA-256").startswith("OK")
    print("scram: by Python, with tls-server-end-point over TLS 1.2 and 1.3")


def exporter():
    """openssl says what the exporter of its own end is."""
    command = ["openssl", "s_client", "-connect", f"{HOST}:{TLS_PORT}", "-CAfile", f"{FOLDER}/ca.pem", "-tls1_3", "-nocommands",
               "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", "-verify_return_error"]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        material = None
        while True:
            line = client.stdout.readline()
            assert line, "openssl ended"
            if b"Keying material: " in line:
                material = bytes.fromhex(line.split(b": ")[1].decode().strip())
            if line.startswith(b"* OK"):
                break
        imap = Imap(client.stdout, client.stdin, greet=False)
        plus = Scram("p=tls-exporter,,", material)
        # Session tickets are told between the lines; they are no lines of IMAP.
        told = Quiet(imap).run(plus)
        assert told.startswith("OK"), told
    finally:
        client.kill()
        client.wait()
    print("scram: with tls-exporter as openssl has it")


class Quiet:
    """Passes over what s_client says itself."""

    def __init__(self, imap):
        self.imap, line = imap, imap.line
        is_imap = lambda text: text.startswith(("+ ", "* ", "p1 "))
        def next_line():
            while not is_imap(text := line()):
                pass
            return text
        imap.line = next_line

    def run(self, exchange):
        return exchange.run(self.imap, "SCRAM-SHA-256-PLUS")


def token(**more):
    claims = {"iss": "https://id.example", "aud": "mail", "exp": int(time.time()) + 600, "email": f"{USER}@example.org"}
    head = url64(json.dumps({"alg": "RS256", "kid": "rsa"}).encode())
    signed = f"{head}.{url64(json.dumps(claims | more).encode())}"
    sign = ["openssl", "dgst", "-sha256", "-sign", f"{FOLDER}/issuer.key"]
    signature = subprocess.run(sign, input=signed.encode(), capture_output=True, check=True).stdout
    return f"{signed}.{url64(signature)}"


def bearer():
    message = lambda text: b64(f"n,a={USER}@example.org,\1auth=Bearer {text}\1\1".encode())
    assert over(tls()).order(f"AUTHENTICATE OAUTHBEARER {message(token())}").startswith("OK")
    xoauth2 = b64(f"user={USER}\1auth=Bearer {token()}\1\1".encode())
    assert over(tls()).order("AUTHENTICATE XOAUTH2", xoauth2).startswith("OK")
    imap, told = over(tls()), []
    def hear(challenge):
        told.append(json.loads(challenge))
        return "AQ=="
    for bad in (token(exp=1), token(aud="other"), token(iss="https://evil.example"), token(email="nobody@example.org")):
        answer = imap.order(f"AUTHENTICATE OAUTHBEARER {message(bad)}", hear)
        assert answer.startswith("NO [AUTHENTICATIONFAILED]"), answer
    assert all(one["status"] == "invalid_token" for one in told) and len(told) == 4, told
    print("bearer: tokens signed by openssl")


def curl():
    if not shutil.which("curl") or "imaps" not in subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout:
        print("curl: skipped, it is not installed or does not speak IMAP")
        return
    def ask(*words):
        base = ["curl", "-sS", "--max-time", "30", "--cacert", f"{FOLDER}/ca.pem", f"imaps://localhost:{TLS_PORT}/"]
        return subprocess.run(base + ["--resolve", f"localhost:{TLS_PORT}:{HOST}", *words], capture_output=True, text=True)
    certificate = ["--cert", f"{FOLDER}/client.pem", "--key", f"{FOLDER}/client.key"]
    ways = {
        "PLAIN": ["-u", f"{USER}:{PASSWORD}", "--login-options", "AUTH=PLAIN"],
        "OAUTHBEARER": ["-u", USER, "--oauth2-bearer", token(), "--login-options", "AUTH=OAUTHBEARER"],
        "XOAUTH2": ["-u", USER, "--oauth2-bearer", token(), "--login-options", "AUTH=XOAUTH2"],
        "EXTERNAL": ["-u", f"{USER}:", "--login-options", "AUTH=EXTERNAL", *certificate],
    }
    for name, words in ways.items():
        done = ask(*words)
        assert "INBOX" in done.stdout, (name, done)
    refused = {
        "PLAIN": ["-u", f"{USER}:wrong", "--login-options", "AUTH=PLAIN"],
        "OAUTHBEARER": ["-u", USER, "--oauth2-bearer", token(aud="x"), "--login-options", "AUTH=OAUTHBEARER"],
        "EXTERNAL": ["-u", "other:", "--login-options", "AUTH=EXTERNAL", *certificate],
    }
    for name, words in refused.items():
        assert ask(*words).returncode == 67, (name, "curl's code for a refused login")
    print("curl: " + ", ".join(ways))


def external():
    assert "AUTH=EXTERNAL" not in over(tls()).greeting, "without a certificate"
    imap = over(tls(certificate=True))
    assert "AUTH=EXTERNAL" in imap.greeting
    assert imap.order("AUTHENTICATE EXTERNAL =").startswith("OK")
    assert over(tls(certificate=True)).order("AUTHENTICATE EXTERNAL", "").startswith("OK")
    assert over(tls(certificate=True)).order("AUTHENTICATE EXTERNAL", b64(b"other")).startswith("NO [AUTHORIZATIONFAILED]")
    print("external: with a certificate by Python")


def proxied(header, rest=b""):
    sock = socket.create_connection((HOST, PROXY_PORT), 20)
    sock.sendall(header + rest)
    return sock


def proxy():
    login = f"LOGIN {USER} {PASSWORD}"
    imap = over(proxied(b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 143\r\n"))
    assert "LOGINDISABLED" in imap.greeting
    assert imap.order(login).startswith("NO [PRIVACYREQUIRED]"), "the client is not on this machine"
    v2 = lambda addresses, extra=b"": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12 + len(extra)) + addresses + extra
    far = socket.inet_aton("203.0.113.10") + socket.inet_aton("198.51.100.1") + struct.pack(">HH", 4712, 143)
    assert "LOGINDISABLED" in over(proxied(v2(far))).greeting
    over_tls = over(proxied(v2(far, b"\x20\0\5\1\0\0\0\0")))
    assert over_tls.order(login).startswith("OK"), "the proxy took the TLS off"
    # Its own check whether we live.
    assert "LOGINDISABLED" not in over(proxied(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")).greeting
    for garbage in (b"a CAPABILITY\r\nb NOOP\r\n", b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 " + b"1" * 200, bytes(64)):
        sock = proxied(garbage)
        try:
            assert sock.recv(100) == b"", "nothing is said"
        except ConnectionResetError:
            pass
    print("proxy: versions 1 and 2")


def hello(version):
    """The answer to a ClientHello made by hand: no library makes one of TLS 1.1 any more."""
    extension = lambda kind, body: struct.pack(">HH", kind, len(body)) + body
    extensions = extension(10, b"\0\4\0\x1d\0\x17") + extension(11, b"\1\0") + extension(13, b"\0\2\4\3") + extension(23, b"")
    body = version + os.urandom(32) + b"\0" + b"\0\2\xc0\x2b" + b"\1\0" + struct.pack(">H", len(extensions)) + extensions
    message = b"\1" + struct.pack(">I", len(body))[1:] + body
    with socket.create_connection((HOST, TLS_PORT), 20) as sock:
        sock.sendall(b"\x16\x03\1" + struct.pack(">H", len(message)) + message)
        return sock.recv(100)


def old_tls():
    assert hello(b"\x03\x03")[0] == 22, "TLS 1.2 is answered with a ServerHello"
    for version in (b"\x03\x02", b"\x03\x01", b"\x03\x00"):
        alert = hello(version)
        assert alert[0] == 21 and alert[6] == 70, (version, alert)  # protocol_version
    print("tls: 1.1 and older are refused")


def random_names():
    """Names nobody has, each once: they must not stay in memory."""
    def resident():
        with open(f"/proc/{os.environ['SERVER_PID']}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    def ask(count):
        for _ in range(count):
            name = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=200)[i] + ("." if i % 50 == 49 and i < 199 else "") for i in range(200))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection((HOST, TLS_PORT), 20) as plain, context.wrap_socket(plain, server_hostname=name):
                pass
    ask(200)
    before = resident()
    ask(2000)
    grown = resident() - before
    assert grown < 2000 * 200, f"{grown} octets more after 2000 names of 200"
    print(f"tls: 2000 random names, {grown} octets more")


for way in (scram, exporter, bearer, external, curl, proxy, old_tls, random_names):
    way()
