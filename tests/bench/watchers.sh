#!/usr/bin/env bash
# Measures what waiting clients cost and how fast they are told, on a server of its own.
#   tests/bench/watchers.sh DIR [ACCOUNTS] [APPENDS]
# DIR: a folder for its data, kept for the next time. PILLARBOX: the program to measure (default target/release/pillarbox).
# Memory is that of the process (RssAnon of /proc), per waiting connection, in a mailbox of 5,000 and in one of 100,000
# messages. Push is from the last octet of an APPEND to the line that tells of it, at each of 100 clients of the mailbox, while
# ACCOUNTS more (1,000) wait on accounts of their own. Everything listens on 127.0.0.1 only.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
program=$(readlink -f "${PILLARBOX:-target/release/pillarbox}")
mkdir -p "$1"; dir=$(readlink -f "$1"); accounts=${2:-1000}; appends=${3:-200}
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
cd "$dir"
[ -f key.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null
cat >pillarbox.toml <<C
data_dir = "data"
[[listen]]
address = "127.0.0.1:12243"
security = "none"
[[listen]]
address = "127.0.0.1:12293"
security = "tls"
[tls]
certificate = "cert.pem"
key = "key.pem"
[limits]
sessions = 50000
sessions_per_user = 50000
sessions_per_address = 50000
[log]
level = "warn"
C
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
start() {
  "$program" serve --config pillarbox.toml >>log 2>&1 & server=$!
  for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/12243) 2>/dev/null && return; sleep 0.05; done
  echo "the server did not start; see $dir/log"; exit 1
}
stop() { kill "$server"; wait "$server" || true; server=; }
if [ ! -f ready ]; then
  start
  for n in big small watched $(seq -f w%g "$accounts"); do
    echo pw | "$program" user add "$n" --password-stdin --config pillarbox.toml >/dev/null
  done
  for box in big:100000 small:5000; do
    python3 - "${box#*:}" >mbox <<'PYTHON'
import sys
for n in range(int(sys.argv[1])):
    print(f"From a@b.test Mon Jan  1 00:00:00 2024\nFrom: a@b.test\nSubject: message {n}\nMessage-ID: <{n}@b.test>\n\ntext {n}\n")
PYTHON
    "$program" import mbox "${box%:*}" mbox --config pillarbox.toml >/dev/null
  done
  rm -f mbox
  stop
  touch ready
fi
echo "one 8 KiB write and its fdatasync, median of 500: $(python3 "$here/watchers.py" sync "$dir/data")"
for case in "small plain" "small tls" "big plain" "big tls"; do
  start
  # shellcheck disable=SC2086
  python3 "$here/watchers.py" memory $case "$server" 1000
  stop
done
start
python3 "$here/watchers.py" push IDLE "$accounts" "$appends"
stop
start
python3 "$here/watchers.py" push NOTIFY "$accounts" "$appends"
stop
