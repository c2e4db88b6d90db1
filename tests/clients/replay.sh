#!/usr/bin/env bash
# Plays recorded sessions of mail programs with an outside player, PILLARBOX_REPLAY=path of replay.py; the recordings,
# *.txt, lie beside it. Needs IMAP_HOST IMAP_PORT IMAP_USER IMAP_PASSWORD; the account is emptied. 77: no player named.
set -euo pipefail
[ -n "${PILLARBOX_REPLAY:-}" ] || { echo "skipped: PILLARBOX_REPLAY names no player"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
timeout 600 python3 "$PILLARBOX_REPLAY" --host "$IMAP_HOST" --port "$IMAP_PORT" --user "$IMAP_USER" --password "$IMAP_PASSWORD" \
  "$(dirname "$PILLARBOX_REPLAY")"/*.txt
