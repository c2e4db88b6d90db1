#!/usr/bin/env python3
"""A password checker for Pillarbox: an example to copy and change. docs/logins.md describes the protocol.

    checker.py /run/pillarbox-checker/socket ldap ldaps://ldap.example.org 'uid={user},ou=people,dc=example,dc=org'
    checker.py /run/pillarbox-checker/socket file users.json

"ldap" asks by a bind, with the program ldapwhoami (Debian: ldap-utils). "file" is for trying things out: a JSON object of
names and passwords. Who may connect is decided by the rights of the socket: run this as the server's own user, or give
the socket's directory to a group the server is in.
"""
import json
import os
import socketserver
import subprocess
import sys

MOST_QUESTION_BYTES = 64 * 1024
PATIENCE_SECONDS = 8  # below checker.timeout_seconds of the server


def check_file(path, user, password):
    with open(path, encoding="utf-8") as file:
        users = json.load(file)
    # The name as it is kept; a name in another case is the same user.
    name = user.lower()
    return {"answer": "yes", "user": name} if users.get(name) == password else {"answer": "no"}


def escaped(text):
    """A text as it stands in a distinguished name (RFC 4514): no user name can change the rest of it."""
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"
    return "".join(c if c in plain else "".join(f"\\{octet:02x}" for octet in c.encode()) for c in text)


def check_ldap(url, pattern, user, password):
    # LDAP takes an empty password for "nobody in particular" and says yes.
    if not password:
        return {"answer": "no"}
    command = ["ldapwhoami", "-x", "-H", url, "-D", pattern.replace("{user}", escaped(user)), "-y", "/dev/stdin"]
    asked = subprocess.run(command, input=password.encode(), capture_output=True, timeout=PATIENCE_SECONDS)
    if asked.returncode == 0:
        return {"answer": "yes", "user": user.lower()}
    # 49: invalidCredentials. Everything else is trouble, not a wrong password.
    return {"answer": "no"} if asked.returncode == 49 else {"answer": "later", "reason": f"ldapwhoami: {asked.returncode}"}


CHECKS = {"file": (check_file, 1), "ldap": (check_ldap, 2)}


class Question(socketserver.StreamRequestHandler):
    timeout = PATIENCE_SECONDS

    def handle(self):
        try:
            question = json.loads(self.rfile.readline(MOST_QUESTION_BYTES))
            if question["version"] != 1 or question["ask"] != "password":
                answer = {"answer": "later", "reason": "this question is not known"}
            else:
                answer = self.server.check(question["user"], question["password"])
        except Exception as error:  # whatever it is, it does not mean that the password is wrong
            # Never the question itself: it holds the password.
            print(f"checker: {type(error).__name__}", file=sys.stderr)
            answer = {"answer": "later", "reason": type(error).__name__}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Checker(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in CHECKS or len(sys.argv) != 3 + CHECKS[sys.argv[2]][1]:
        sys.exit(__doc__)
    path, (check, _), arguments = sys.argv[1], CHECKS[sys.argv[2]], sys.argv[3:]
    if os.path.exists(path):
        os.unlink(path)
    os.umask(0o117)
    with Checker(path, Question) as server:
        server.check = lambda user, password: check(*arguments, user, password)
        print(f"checker: listening on {path}", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
