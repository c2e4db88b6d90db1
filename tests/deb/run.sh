#!/usr/bin/env bash
# Builds the Debian package and plays its life in a fresh Debian 12: install, use, upgrade, remove, purge.
# Needs root that may mount and make namespaces, a mirror of Debian's, debootstrap, cargo-deb, python3 and
# systemd-socket-activate; without one of them it says so and ends with 77, which is no failure.
# usage: tests/deb/run.sh [PROFILE]   (release unless told; dev packs what cargo build made)
# PILLARBOX_DEBIAN=FOLDER keeps the fresh Debian there for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."
profile=${1:-release}
. tests/deb/pack.sh
need debootstrap cargo-deb python3 systemd-socket-activate unshare ip

if [ -z "${PILLARBOX_DEB_INSIDE:-}" ]; then
  scene=$(mktemp -d)
  trap 'code=$?; rm -rf --one-file-system "$scene"; verdict $code' EXIT
  unshare --net --mount sh -c 'ip link set lo up && mount --bind /proc "$0"' "$scene" || skip "no namespaces can be made here"
  fresh "$scene/fresh"
  pack "$profile"
  debian "$scene/debian"
  # A network of its own, so that ports 143 and 993 are free and nothing is heard outside.
  PILLARBOX_DEB_INSIDE=$scene/debian unshare --net --mount "$0" "$profile"
  exit
fi

root=$PILLARBOX_DEB_INSIDE
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
ip link set lo up
mount --bind /proc "$root/proc"
# Nothing is started by the package here: there is no systemd running.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

inside() { DEBIAN_FRONTEND=noninteractive chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
owner() { inside stat -c '%U:%G %a' "$1"; }

log_in() { # the first connection starts the server, as systemd would
  systemd-socket-activate -l 143 -l 993 chroot --userspec=pillarbox:pillarbox "$root" /usr/bin/pillarbox serve \
    2>>"$root/root/server.log" &
  local server=$! told
  told=$(python3 - "$1" "$2" <<'PYTHON'
import imaplib, ssl, sys, time
context = ssl._create_unverified_context()
for left in range(1200, -1, -1):
    try:
        client = imaplib.IMAP4_SSL("localhost", 993, ssl_context=context)
        break
    except ConnectionRefusedError:
        if not left:
            raise
        time.sleep(0.05)
client.login("alice", sys.argv[1])
if sys.argv[2] == "append":
    assert client.append("INBOX", None, None, b"Subject: kept\r\n\r\nover everything\r\n")[0] == "OK"
print(client.select("INBOX")[1][0].decode())
client.logout()
PYTHON
  ) || { cat "$root/root/server.log"; fail "nobody can log in"; }
  kill "$server"
  wait "$server" || { cat "$root/root/server.log"; fail "the server did not end well"; }
  echo "$told"
}

echo "--- install"
inside dpkg -i /root/pillarbox-1.0.0-1.deb
is "nothing is half done" "$(inside dpkg --audit)" ""
is "the mail's directory" "$(owner /var/lib/pillarbox)" "pillarbox:pillarbox 700"
is "the configuration's directory" "$(owner /etc/pillarbox)" "root:pillarbox 750"
is "the key" "$(owner /etc/pillarbox/privkey.pem)" "root:pillarbox 640"
is "the configuration is fine" "$(inside pillarbox check-config)" "/etc/pillarbox/pillarbox.toml is fine"
is "the units start with the machine" "$(inside systemctl is-enabled pillarbox.socket pillarbox.service | sort -u)" enabled
inside test -e /usr/share/man/man1/pillarbox-user-add.1.gz || fail "there is no man page"
inside bash -n /usr/share/bash-completion/completions/pillarbox || fail "bash cannot read its completions"
told=$(echo correct-horse | inside pillarbox user add alice --password-stdin)
echo "$told"
grep -q "port 993, SSL/TLS" <<<"$told" || fail "user add does not say what to type"
is "alice's mail" "$(log_in correct-horse append)" 1
is "all is well" "$(inside pillarbox check)" "all is well"

echo "--- upgrade"
echo "# mine" >> "$root/etc/pillarbox/pillarbox.toml"
before=$(inside sha256sum /etc/pillarbox/fullchain.pem /etc/pillarbox/privkey.pem)
inside dpkg -i /root/pillarbox-1.0.1-1.deb
is "the version" "$(inside dpkg-query -W -f '${Version}' pillarbox)" 1.0.1-1
is "the configuration stays" "$(tail -1 "$root/etc/pillarbox/pillarbox.toml")" "# mine"
is "certificate and key stay" "$(inside sha256sum /etc/pillarbox/fullchain.pem /etc/pillarbox/privkey.pem)" "$before"
is "alice's mail" "$(log_in correct-horse -)" 1

echo "--- remove"
inside dpkg -r pillarbox
inside test ! -e /usr/bin/pillarbox || fail "the program stays"
is "the mail stays" "$(owner /var/lib/pillarbox/server.db)" "pillarbox:pillarbox 600"
inside test -e /etc/pillarbox/pillarbox.toml || fail "the configuration went"
inside dpkg -i /root/pillarbox-1.0.1-1.deb
is "alice's mail" "$(log_in correct-horse -)" 1

echo "--- purge, unasked"
inside dpkg -P pillarbox
inside test ! -e /etc/pillarbox || fail "/etc/pillarbox stays"
is "the mail stays" "$(owner /var/lib/pillarbox/server.db)" "pillarbox:pillarbox 600"
inside dpkg -i /root/pillarbox-1.0.1-1.deb
is "alice's mail" "$(log_in correct-horse -)" 1

echo "--- purge, and the operator wants it"
echo "brought by hand" > "$root/etc/pillarbox/privkey.pem"
echo "pillarbox pillarbox/remove-mail boolean true" | inside debconf-set-selections
inside dpkg -P pillarbox
inside test ! -e /var/lib/pillarbox || fail "the mail is still there"
is "a key that the package did not make stays" "$(cat "$root/etc/pillarbox/privkey.pem")" "brought by hand"
is "nothing is left in the package's name" "$(inside dpkg-query -W -f '${Status}' pillarbox 2>/dev/null || echo none)" none
echo "--- all is well"
