#!/usr/bin/env bash
# curl: appends, lists, searches, fetches and stores.
# Needs IMAP_HOST IMAP_PORT IMAP_USER IMAP_PASSWORD and an empty account; 77 means that curl cannot speak IMAP here.
set -euo pipefail
command -v curl >/dev/null || { echo "skipped: curl is not installed"; exit 77; }
curl --version | grep -qw imap || { echo "skipped: this curl does not speak IMAP"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
url="imap://$IMAP_HOST:$IMAP_PORT"
ask() { timeout 30 curl -sS -u "$IMAP_USER:$IMAP_PASSWORD" "$@"; }
fail() { echo "curl: $1"; exit 1; }

printf 'From: ada@example.org\r\nSubject: by curl\r\n\r\nHello from curl.\r\n' >"$work/message"
ask "$url/" -X 'CREATE curled'
ask "$url/curled" -T "$work/message"
ask "$url/curled" -T "$work/message"
ask "$url/" | grep -q 'curled' || fail "the mailbox is not listed"
ask "$url/curled?ALL" | tr -d '\r' | grep -qx '\* SEARCH 1 2' || fail "the search does not find both"
ask "$url/curled;UID=1" >"$work/back"
cmp "$work/message" "$work/back" || fail "the message came back otherwise"
ask "$url/curled;UID=2;SECTION=TEXT" | tr -d '\r' | grep -qx 'Hello from curl.' || fail "the text came back otherwise"
ask "$url/curled" -X 'STORE 1 +FLAGS (\Deleted)' >/dev/null
ask "$url/curled" -X 'EXPUNGE' >/dev/null
ask "$url/curled?ALL" | tr -d '\r' | grep -qx '\* SEARCH 1' || fail "the message was not removed"
echo "curl: appended, listed, searched, fetched and removed"
