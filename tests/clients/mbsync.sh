#!/usr/bin/env bash
# mbsync: a folder is pushed to the server, pulled into a second place, and flags and removals travel back.
# Needs IMAP_HOST IMAP_PORT IMAP_USER IMAP_PASSWORD and an empty account; 77 means that mbsync is not installed.
set -euo pipefail
command -v mbsync >/dev/null || { echo "skipped: mbsync is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

config() { # one local place, called $1, against the server's mailbox "synced"
  mkdir -p "$work/$1/synced"/{cur,new,tmp} "$work/$1.state"
  cat >"$work/$1.rc" <<END
IMAPAccount server
Host $IMAP_HOST
Port $IMAP_PORT
User $IMAP_USER
PassCmd "printf %s '$IMAP_PASSWORD'"
SSLType None
AuthMechs *

IMAPStore far
Account server

MaildirStore near
Path $work/$1/
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns synced
Create Both
Expunge Both
Sync All
CopyArrivalDate yes
SyncState $work/$1.state/
END
}
sync() { timeout 60 mbsync -c "$work/$1.rc" both >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }
content() { # what a place holds, without the line mbsync adds for its own bookkeeping and without file names
  for file in "$work/$1/synced"/{cur,new}/*; do [ -f "$file" ] && grep -v '^X-TUID:' "$file" | sha256sum; done | sort
}
fail() { echo "mbsync: $1"; ls -R "$work/one/synced" "$work/two/synced"; exit 1; }

config one
config two
for n in 1 2 3 4 5; do
  { printf 'From: ada@example.org\nSubject: number %s\nMessage-ID: <n%s@example.org>\nDate: Mon, 5 Feb 2024 10:0%s:00 +0000\n\n' "$n" "$n" "$n"
    seq 1 $((n * 1000)); } >"$work/one/synced/new/message$n"
done
sync one
sync two
[ "$(content one | wc -l)" = 5 ] || fail "five messages were to be kept"
[ "$(content one)" = "$(content two)" ] || fail "the two places differ"

# A flag set in the second place reaches the first; a message removed in the first is gone from the second.
file=$(grep -l 'number 3' "$work/two/synced"/*/*)
base=$(basename "$file")
mv "$file" "$work/two/synced/cur/${base%%:2,*}:2,FS"
sync two
sync one
file=$(grep -l 'number 3' "$work/one/synced"/*/*)
[[ $file == *:2,*F*S* ]] || fail "the flags did not travel: $file"
rm "$(grep -l 'number 4' "$work/one/synced"/*/*)"
sync one
sync two
[ "$(content two | wc -l)" = 4 ] || fail "a removed message stayed"
[ "$(content one)" = "$(content two)" ] || fail "the two places differ in the end"
echo "mbsync: pushed, pulled, flagged and removed"
