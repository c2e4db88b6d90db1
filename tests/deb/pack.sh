# Read in by the scripts beside it: two versions of the package, and a fresh Debian 12 to install them into. A machine on
# which that cannot be shown is told from a package that fails: the scripts say so and end with 77, and with 1 for a failure.
PATH=$PATH:/usr/sbin:/sbin
skipped=

skip() { # why nothing can be shown here
  echo "skipped: $*"
  skipped=1
  exit 77
}

verdict() { # what a script ends with, told to its own trap: a command that failed with 77 is a failure like any other
  [ "$1" = 0 ] || [ -n "$skipped" ] || exit 1
  exit "$1"
}

need() { # programs without which nothing can be shown
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "$program is missing"
  done
  [ "$(id -u)" = 0 ] || skip "only root can make a Debian to install into"
}

pack() { # a profile: builds it and leaves versions 1.0.0-1 and 1.0.1-1 in target/debian
  local made paper=target/paper version quick=()
  made=target/$([ "$1" = dev ] && echo debug || echo "$1")
  # Nobody but a test installs what is full of debug information: it need not be small, nor be told that it is not.
  [ "$1" != dev ] || quick=(--fast --quiet)
  cargo build --locked --profile "$1"
  mkdir -p "$paper"
  "$made/pillarbox" man "$paper/man"
  "$made/pillarbox" completions bash > "$paper/pillarbox.bash"
  "$made/pillarbox" completions zsh > "$paper/_pillarbox"
  "$made/pillarbox" completions fish > "$paper/pillarbox.fish"
  for version in 1.0.0-1 1.0.1-1; do
    cargo deb --no-build --locked --profile "$1" "${quick[@]}" --deb-version "$version" \
      --output "target/debian/pillarbox-$version.deb" >/dev/null
  done
  ls -l target/debian/pillarbox-1.0.{0,1}-1.deb
}

fresh() { # a folder: a Debian that nothing was done to, made there unless PILLARBOX_DEBIAN names one that is kept
  fresh=${PILLARBOX_DEBIAN:-$1}
  if [ ! -e "$fresh/etc/debian_version" ]; then
    echo "a fresh Debian goes into $fresh"
    # Under another name until it is whole; what is mounted meanwhile is seen by nobody else. A mirror may never answer.
    mkdir -p "$(dirname "$fresh")"
    unshare --mount timeout 300 debootstrap --variant=minbase --include=systemd,debconf,init-system-helpers,libgcc-s1 \
      bookworm "$fresh.part" > "$fresh.log" 2>&1 || {
      tail -n 5 "$fresh.log"
      rm -rf --one-file-system "$fresh.part" "$fresh.log"
      skip "debootstrap cannot make a Debian here"
    }
    rm "$fresh.log"
    mv "$fresh.part" "$fresh"
  fi
  chroot "$fresh" true || skip "no program of another Debian runs here"
}

debian() { # a folder: a copy of the fresh Debian to play with, both packages in its /root
  cp -a "$fresh" "$1"
  cp target/debian/pillarbox-1.0.{0,1}-1.deb "$1/root/"
}

fail() { echo "FAILED: $*"; exit 1; }
is() { # what, and the two that must be the same
  [ "$2" = "$3" ] || fail "$1: $2, not $3"
  echo "ok: $1"
}
