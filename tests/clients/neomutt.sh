#!/usr/bin/env bash
# neomutt: copies a local folder to the server, then opens it there, flags, copies and deletes.
# Needs IMAP_HOST IMAP_PORT IMAP_USER IMAP_PASSWORD and an empty account; 77 means that something is not installed.
set -euo pipefail
command -v neomutt >/dev/null || { echo "skipped: neomutt is not installed"; exit 77; }
command -v script >/dev/null || { echo "skipped: script, which gives neomutt its terminal, is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" TERM=xterm
url="imap://$IMAP_USER@$IMAP_HOST:$IMAP_PORT"
fail() { echo "neomutt: $1"; cat "$work/log" 2>/dev/null; exit 1; }
cat >"$work/rc" <<END
set imap_user="$IMAP_USER" imap_pass="$IMAP_PASSWORD" ssl_starttls=no ssl_force_tls=no
set folder="$url/" spoolfile="$url/INBOX"
set quit=yes resolve=no delete=yes confirmappend=no confirmcreate=no wait_key=no mail_check=1 timeout=2 header_cache=""
set mbox_type=mbox sort=mailbox-order
END
# Opens the folder $1 and types $2.
open() {
  timeout 60 script -qec "neomutt -n -F $work/rc -f '$1' -e 'push \"$2\"'" /dev/null </dev/null >"$work/log" 2>&1 || fail "opening $1 failed"
}

for n in first second; do
  printf 'From ada@example.org Mon Feb  5 10:00:00 2024\nFrom: ada@example.org\nSubject: %s letter\nDate: Mon, 5 Feb 2024 10:00:00 +0000\n\n%s\n\n' $n $n
done >"$work/start"
open "$work/start" "<tag-pattern>~A<enter><tag-prefix><copy-message>$url/INBOX<enter><quit>"
open "$url/INBOX" "<first-entry><flag-message><copy-message>$url/kept<enter><next-entry><copy-message>$work/local<enter><sync-mailbox><quit>"
grep -q '^Subject: second letter' "$work/local" || fail "the message was not copied to a file"
open "$url/INBOX" "<last-entry><delete-message><sync-mailbox><quit>"

python3 - <<'END'
import imaplib, os
server = imaplib.IMAP4(os.environ["IMAP_HOST"], int(os.environ["IMAP_PORT"]))
server.login(os.environ["IMAP_USER"], os.environ["IMAP_PASSWORD"])
def subjects(box):
    assert server.select(box, readonly=True)[0] == "OK", box
    data = server.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")[1]
    return [(b"\\Flagged" in part[0], part[1].strip()) for part in data if isinstance(part, tuple)]
assert subjects("INBOX") == [(True, b"Subject: first letter")], subjects("INBOX")
assert [subject for _, subject in subjects("kept")] == [b"Subject: first letter"], subjects("kept")
server.logout()
END
echo "neomutt: copied there, flagged, copied and deleted"
