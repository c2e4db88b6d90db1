# Read in by the scripts beside it: two versions of the package, and a fresh Debian 12 to install them into.

need() { # programs without which nothing can be shown
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "skipped: $program is missing"; exit 77; }
  done
  [ "$(id -u)" = 0 ] || { echo "skipped: only root can make a Debian to install into"; exit 77; }
}

pack() { # a profile: builds it and leaves versions 1.0.0-1 and 1.0.1-1 in target/debian
  local made paper=target/paper version
  made=target/$([ "$1" = dev ] && echo debug || echo "$1")
  cargo build --locked --profile "$1"
  mkdir -p "$paper"
  "$made/pillarbox" man "$paper/man"
  "$made/pillarbox" completions bash > "$paper/pillarbox.bash"
  "$made/pillarbox" completions zsh > "$paper/_pillarbox"
  "$made/pillarbox" completions fish > "$paper/pillarbox.fish"
  for version in 1.0.0-1 1.0.1-1; do
    cargo deb --no-build --locked --profile "$1" --deb-version "$version" \
      --output "target/debian/pillarbox-$version.deb" >/dev/null
  done
  ls -l target/debian/*.deb
}

debian() { # a folder: a Debian to play with, both packages in its /root; PILLARBOX_DEBIAN is kept for the next time
  local fresh=${PILLARBOX_DEBIAN:-$1.fresh}
  [ -e "$fresh/etc/debian_version" ] || debootstrap --variant=minbase \
    --include=systemd,debconf,init-system-helpers,libgcc-s1 bookworm "$fresh" >/dev/null
  cp -a "$fresh" "$1"
  cp target/debian/pillarbox-1.0.{0,1}-1.deb "$1/root/"
}

fail() { echo "FAILED: $*"; exit 1; }
is() { # what, and the two that must be the same
  [ "$2" = "$3" ] || fail "$1: $2, not $3"
  echo "ok: $1"
}
