#!/usr/bin/env bash
# Measures Pillarbox beside a private Dovecot in the same run.
#   tests/bench/run.sh BENCH PEER DIR [imapbench options]
# BENCH: the imapbench program; PEER: the script that starts a private Dovecot (start|stop DIR STORE PORT [MODE]);
# DIR: an empty folder for both servers' data. PILLARBOX: the program to measure (default target/release/pillarbox).
# PEERS: the peer's stores, by default "sdbox mdbox maildir". Everything listens on 127.0.0.1 only.
set -euo pipefail
bench=$(readlink -f "$1"); peer=$(readlink -f "$2"); mkdir -p "$3"; dir=$(readlink -f "$3"); shift 3
program=$(readlink -f "${PILLARBOX:-target/release/pillarbox}")
ulimit -n 65536 || true
sysctl -q fs.inotify.max_user_instances=8192 || true

mkdir -p "$dir/pillarbox"
cd "$dir/pillarbox"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null
cat >pillarbox.toml <<C
data_dir = "data"
[[listen]]
address = "127.0.0.1:12143"
security = "none"
[[listen]]
address = "127.0.0.1:12993"
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
if [ ! -f data/server.db ]; then
  for n in $(seq 130); do echo pw | "$program" user add "bench$n" --password-stdin --config pillarbox.toml >/dev/null; done
fi
cat >restart.sh <<C
#!/usr/bin/env bash
if [ -f "$dir/pillarbox/pid" ]; then
  p=\$(cat "$dir/pillarbox/pid"); kill "\$p" 2>/dev/null || true
  for _ in \$(seq 400); do kill -0 "\$p" 2>/dev/null || break; sleep 0.05; done
fi
cd "$dir/pillarbox"
nohup "$program" serve --config pillarbox.toml >>log 2>&1 </dev/null &
echo \$! >pid
for _ in \$(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/12143) 2>/dev/null && break; sleep 0.05; done
C
chmod +x restart.sh
./restart.sh
stop() {
  kill "$(cat "$dir/pillarbox/pid")" 2>/dev/null || true
  for store in ${PEERS-sdbox mdbox maildir}; do "$peer" stop "$dir/$store" || true; done
}
trap stop EXIT

servers=(--server "name=pillarbox;addr=127.0.0.1:12143;tls=127.0.0.1:12993;user=bench{n};pass=pw;pidfile=$dir/pillarbox/pid;restart=$dir/pillarbox/restart.sh")
port=13143
for store in ${PEERS-sdbox mdbox maildir}; do
  servers+=(--server "$("$peer" start "$dir/$store" "$store" "$port" "${PEER_MODE:-}")")
  port=$((port + 10))
done
sleep 1
"$bench" "${servers[@]}" "$@"
