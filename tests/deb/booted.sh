#!/usr/bin/env bash
# Boots a fresh Debian 12 with systemd as its first process, in namespaces of its own, and plays the package's life there
# as a machine's owner would: what the unit forbids, the watchdog, restarts that nobody notices, the journal, LMTP, an upgrade.
# Needs root that may make namespaces and control groups, a mirror of Debian's, debootstrap, cargo-deb and python3; without one
# of them, or where systemd will not run, it says so and ends with 77, which is no failure.
# usage: tests/deb/booted.sh [PROFILE]   (release unless told; dev packs what cargo build made)
# PILLARBOX_DEBIAN=FOLDER keeps the fresh Debian there for the next time. Without building and fetching it takes half a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/deb/pack.sh
group=pillarbox-booted

boot() { # a Debian's folder: becomes its systemd; already in namespaces of its own
  local root=$1 device
  ip link set lo up
  hostname mail.example.org
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  # What belongs to the whole machine can be looked at only.
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  mkdir "$root/dev/pts" "$root/dev/shm"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  cd "$root"
  pivot_root . mnt
  exec chroot . bash -c 'umount -l /mnt; exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_module,-sys_time,-sys_boot,-sys_rawio /lib/systemd/systemd --show-status=no' </dev/null
}

if [ -n "${PILLARBOX_BOOT_GROUP:-}" ]; then
  # A control group of its own, of the second kind whatever the machine uses, becomes the root of what systemd sees.
  mount -t cgroup2 cgroup2 /mnt
  mkdir "/mnt/$PILLARBOX_BOOT_GROUP"
  echo $$ > "/mnt/$PILLARBOX_BOOT_GROUP/cgroup.procs"
  exec env -u PILLARBOX_BOOT_GROUP PILLARBOX_BOOT="$PILLARBOX_BOOT" \
    unshare --pid --net --mount --uts --ipc --cgroup --fork --kill-child "$0"
fi
[ -z "${PILLARBOX_BOOT:-}" ] || boot "$PILLARBOX_BOOT"

profile=${1:-release}
need debootstrap cargo-deb python3 unshare nsenter setpriv ip
scene=$(mktemp -d)
machine=
put_away() {
  local code=$?
  exec 9>&-
  # unshare does not listen to TERM; its end takes along all that runs in there.
  [ -z "$machine" ] || { kill -KILL "$machine"; wait; } 2>/dev/null || true
  # The groups of what ran are empty soon.
  [ -z "$machine" ] || unshare --mount bash -c 'mount -t cgroup2 cgroup2 /mnt
    for _ in {1..50}; do find "/mnt/$0" -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.1; done' "$group.$$" || true
  rm -rf --one-file-system "$scene"
  verdict $code
}
trap put_away EXIT
unshare --pid --net --mount --uts --ipc --cgroup --fork bash -c 'mount -t cgroup2 cgroup2 /mnt && mkdir /mnt/$0 && rmdir /mnt/$0' \
  "$group.$$" || skip "no namespaces or control groups can be made here"
fresh "$scene/fresh"
pack "$profile"
root=$scene/debian
debian "$root"
echo mail.example.org > "$root/etc/hostname"
printf "127.0.0.1 localhost\n127.0.1.1 mail.example.org mail\n" > "$root/etc/hosts"
# Such a service as the package has, and none of its own.
printf '[Service]\nType=oneshot\nExecStart=cat /proc/self/status\nStandardOutput=truncate:/root/probe\nStateDirectory=probe\n%s' \
  "$(printf '%s\n' User=nobody NoNewPrivileges=yes Private{Users,Devices,Mounts,Tmp}=yes Protect{System=strict,Proc=invisible} \
    ProcSubset=pid CapabilityBoundingSet= SystemCallFilter=@system-service)" > "$root/etc/systemd/system/probe.service"
# It ends with this script, whatever ends that.
PILLARBOX_BOOT_GROUP=$group.$$ PILLARBOX_BOOT=$root setpriv --pdeathsig KILL unshare --mount "$0" > "$scene/console" 2>&1 &
machine=$!

within() { # tenths of a second, and a command that will do well in that time
  local left
  for ((left = $1; left; left--)); do
    ! "${@:2}" >/dev/null 2>&1 || return 0
    [ -d "/proc/$machine" ] || { cat "$scene/console"; echo "the machine is off"; return 1; }
    sleep 0.1
  done
  return 1
}
eventually() { # what, and a command that will do well in time; the machine may be busy with other things
  within 900 "${@:2}" || fail "$1, in vain"
  echo "ok: $1"
}
# systemd is the only child of unshare.
init() { tr -d " " < "/proc/$machine/task/$machine/children"; }
inside() { nsenter --target $(init) --all env -i DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
client() { nsenter --target $(init) --net python3 tests/deb/client.py "$@"; }
show() { inside systemctl show --value --property "$1" "${2:-pillarbox.service}"; }
# Something of Debian's own may have failed where the kernel has less than Debian's.
is_up() { [[ "$(inside systemctl is-system-running)" =~ ^(running|degraded)$ ]]; }
journal() { inside journalctl --quiet --output cat --unit pillarbox.service "$@"; }
says() { # a pattern and what of the journal; read to its end, or journalctl would complain of a closed pipe
  journal "${@:2}" | grep "$1" >/dev/null
}
runs_anew() { [ "$(show ActiveState)" = active ] && [ "$(show MainPID)" != "$1" ]; }
knocking() { # how many connections may be lost, and a command, while a client connects again and again: nobody is turned away
  local told=$scene/knocks
  mkfifo "$scene/until"
  client knock "$1" < "$scene/until" > "$told" 2>&1 &
  local knocks=$!
  exec 9> "$scene/until"
  within 900 test -s "$told" || fail "nobody is let in"
  "${@:2}"
  sleep 0.5
  exec 9>&-
  wait "$knocks" || { cat "$told"; fail "somebody was turned away"; }
  rm "$scene/until"
  echo "ok: nobody was turned away meanwhile: $(tail -n 1 "$told")"
}

# Until here and with this everything is the machine's, nothing the package's.
within 900 is_up || { cat "$scene/console"; skip "no systemd runs in namespaces here"; }
inside systemctl start probe || { cat "$scene/console"; skip "systemd cannot lock a service in here"; }
grep -q '^Seccomp:[[:space:]]*2$' "$root/root/probe" || skip "systemd cannot forbid system calls here"
echo "ok: systemd runs"

echo "--- install, and the second of two commands"
inside dpkg -i /root/pillarbox-1.0.0-1.deb
is "the package has started it" "$(show ActiveState) $(show StatusText)" "active serving"
is "its ports are systemd's" "$(show ActiveState pillarbox.socket)" active
echo correct-horse | inside pillarbox user add alice --password-stdin >/dev/null
client tour correct-horse
echo "ok: a first day, with TLS and with STARTTLS"
client keep correct-horse kept

echo "--- what the unit forbids"
about=$(inside cat "/proc/$(show MainPID)/status")
for line in "NoNewPrivs: 1" "Seccomp: 2" "CapEff: 0000000000000000" "CapBnd: 0000000000000000"; do
  tr -s '\t' ' ' <<<"$about" | grep -qx "$line" || fail "the server does not have $line"
done
mounts=$(inside cat "/proc/$(show MainPID)/mountinfo" | cut -d' ' -f5,6)
grep -q '^/ ro,' <<<"$mounts" && grep -q '^/var/lib/pillarbox rw,' <<<"$mounts" || fail "its files: $mounts"
echo "ok: no rights, few calls, one directory to write to"
# From here on a call that the filter refuses is the server's end, and what would only have failed quietly is seen.
mkdir -p "$root/etc/systemd/system/pillarbox.service.d"
printf '[Service]\nSystemCallErrorNumber=kill\nWatchdogSec=6\n' \
  > "$root/etc/systemd/system/pillarbox.service.d/test.conf"
inside systemctl daemon-reload
inside systemctl restart pillarbox
client tour correct-horse
echo "ok: a day without one forbidden call"

echo "--- the commands"
inside pillarbox status | grep -q "^process  *$(show MainPID)$" || fail "pillarbox status"
inside pillarbox doctor --host mail.example.org > "$scene/told" || { cat "$scene/told"; fail "pillarbox doctor"; }
grep -q "^PASS  the server runs" "$scene/told" || { cat "$scene/told"; fail "pillarbox doctor does not see the server"; }
is "check" "$(inside pillarbox check)" "all is well"
inside pillarbox backup /root/backup >/dev/null
inside pillarbox backup --verify /root/backup >/dev/null
echo "ok: status, doctor, backup"

echo "--- LMTP through a socket of systemd's"
inside groupadd --system postfix
inside systemctl --quiet enable pillarbox-lmtp.socket
inside systemctl restart pillarbox
client deliver "/proc/$(init)/root/run/pillarbox/lmtp.sock"
is "the mail is there" "$(client count correct-horse)" 2

echo "--- started again, while a client connects in a loop"
thrice() { for _ in 1 2 3; do inside systemctl restart pillarbox; done; }
knocking 0 thrice
is "the mail is there" "$(client count correct-horse)" 2

echo "--- killed, and hung"
pid=$(show MainPID)
inside systemctl kill --signal KILL pillarbox
eventually "killed, it comes back" runs_anew "$pid"
is "the mail is there" "$(client count correct-horse)" 2
sleep 8
is "the watchdog is fed" "$(show NRestarts)" 1
pid=$(show MainPID)
# Whom the server had let in before it hung can hear nothing more from it.
knocking 1 eval 'inside systemctl kill --signal STOP pillarbox; eventually "hung, it is ended and comes back" runs_anew "$pid"'
is "the mail is there" "$(client count correct-horse)" 2
says "^pillarbox.service: Watchdog timeout" || fail "the journal does not say why"

echo "--- trouble that passes"
inside chown root /var/lib/pillarbox/server.db
inside systemctl restart pillarbox 2>/dev/null && fail "it starts without its users"
client count correct-horse > "$scene/told" &
waiting=$!
tries() { [ "$(show NRestarts)" -ge "$1" ]; }
eventually "it does not give up" tries 4
inside chown pillarbox /var/lib/pillarbox/server.db
wait "$waiting"
is "who came meanwhile has waited and is served" "$(cat "$scene/told")" 2

echo "--- reload"
certificate=$(client certificate)
pid=$(show MainPID)
inside sh -c 'cd /etc/pillarbox && rm fullchain.pem privkey.pem && chgrp pillarbox . &&
  pillarbox self-signed --certificate fullchain.pem --key privkey.pem other.example.org && chgrp pillarbox privkey.pem &&
  chmod 640 privkey.pem && chmod 644 fullchain.pem' >/dev/null
sed -i 's/^default_domain = ""/default_domain = "example.org"/' "$root/etc/pillarbox/pillarbox.toml"
inside systemctl reload pillarbox
[ "$(client certificate)" != "$certificate" ] || fail "the certificate is the old one"
is "settings and certificate are new, the server is not" "$(client count correct-horse alice@example.org) $(show MainPID)" "2 $pid"
cp "$root/etc/pillarbox/pillarbox.toml" "$scene/fine"
echo "[nonsense]" >> "$root/etc/pillarbox/pillarbox.toml"
inside systemctl reload pillarbox 2>/dev/null && fail "a reload of nonsense went well"
is "nonsense changes nothing" "$(show ActiveState) $(client count correct-horse)" "active 2"
inside systemctl restart pillarbox 2>/dev/null && fail "it starts with nonsense"
is "nonsense ends the server for good" "$(show ExecMainStatus) $(show SubState)" "78 failed"
says nonsense --priority err || fail "the journal does not say what is wrong"
cp "$scene/fine" "$root/etc/pillarbox/pillarbox.toml"
inside systemctl start pillarbox
is "set right, it starts" "$(client count correct-horse)" 2

echo "--- the journal"
says 'logged in user="alice" address=127.0.0.1' || fail "no log-in in the journal"
inside journalctl --quiet --output cat | grep -e correct-horse -e "a body" && fail "the journal tells secrets"
said=$(journal --priority warning _SYSTEMD_UNIT=pillarbox.service _TRANSPORT=stdout | grep -v -e nonsense -e 'server.db: unable' || true)
is "nothing else was worth a warning" "$said" ""

echo "--- upgrade, while a client connects in a loop"
pid=$(show MainPID)
knocking 0 inside dpkg -i /root/pillarbox-1.0.1-1.deb
runs_anew "$pid" || fail "the old server still runs"
is "the mail is there" "$(client count correct-horse)" 2

echo "--- upgrade to what cannot use the configuration"
pid=$(show MainPID)
echo "[nonsense]" >> "$root/etc/pillarbox/pillarbox.toml"
inside dpkg -i /root/pillarbox-1.0.1-1.deb > "$scene/told" 2>&1 || { cat "$scene/told"; fail "the package is half done"; }
grep -q "unknown table \[nonsense\]" "$scene/told" && grep -q "the old server goes on" "$scene/told" || { cat "$scene/told"; fail "it is not said"; }
is "the old server goes on" "$(show MainPID) $(client count correct-horse)" "$pid 2"
cp "$scene/fine" "$root/etc/pillarbox/pillarbox.toml"

echo "--- stop, remove, purge"
inside systemctl stop pillarbox.service pillarbox.socket
is "it stopped by itself" "$(show Result) $(show ExecMainStatus)" "success 0"
inside systemctl start pillarbox
inside dpkg -r pillarbox
is "nothing runs" "$(inside systemctl list-units --no-legend 'pillarbox*')" ""
is "nothing is left of the run" "$(inside ls /run | grep pillarbox || true)" ""
inside dpkg -i /root/pillarbox-1.0.1-1.deb
is "installed anew, the mail is there" "$(client count correct-horse)" 2
client deliver "/proc/$(init)/root/run/pillarbox/lmtp.sock"
echo "ok: and so is the door for LMTP"
echo "pillarbox pillarbox/remove-mail boolean true" | inside debconf-set-selections
inside dpkg -P pillarbox
is "nothing runs" "$(inside systemctl list-units --no-legend 'pillarbox*')" ""
rm -r "$root/etc/systemd/system/pillarbox.service.d"
# The certificate was made by hand above, so the package is not to take it away.
is "nothing else is left" "$(cd "$root"; find etc usr var/lib run -name '*pillarbox*' ! -path 'var/lib/dpkg/*')" etc/pillarbox
is "not even there" "$(cd "$root/etc/pillarbox"; echo *)" "fullchain.pem privkey.pem"
echo "--- all is well"
