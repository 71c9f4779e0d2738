# Debian's packages in a folder: by Debian's own apt with its signatures checked, but without root and without
# installing anything. For scripts with `set -eu` to source:
#
#   require_apt REMEDY                       ends the script with the remedy where there is no apt
#   unpack FOLDER 'SUITE…' PACKAGE[/SUITE]…  these packages alone, from Debian's mirror
#   unpack_missing FOLDER PACKAGE…           these, and what they need that this machine lacks, from its own sources
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "error: $1" >&2
  exit 3
}

require_apt() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "no apt here; $1"
}

unpack() (
  [ -f "$KEYS" ] || fail "$KEYS is missing; install debian-archive-keyring"
  _enter "$1"
  for suite in $2; do
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$(_mirror)" "$suite" "$KEYS"
  done >apt/mirror.sources
  shift 2
  _apt_of_mirror update
  (cd apt/cache/archives && _apt_of_mirror download "$@")
  _extract
)

unpack_missing() (
  _enter "$1"
  shift
  _apt update
  _apt install --download-only --no-install-recommends --reinstall --yes "$@"
  _extract
)

# The mirror that this machine uses already.
_mirror() {
  mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
    sed -n -E 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' | head -n 1)
  echo "${mirror:-http://deb.debian.org/debian}"
}

_enter() {
  mkdir -p "$1/apt/state/lists/partial" "$1/apt/cache/archives/partial"
  cd "$1"
  APT=$PWD/apt
}

_apt() {
  apt-get -qq -o Dir::State="$APT/state" -o Dir::Cache="$APT/cache" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root "$@"
}

_apt_of_mirror() {
  _apt -o Dir::Etc::sourcelist="$APT/mirror.sources" -o Dir::Etc::sourceparts=/dev/null "$@"
}

_extract() {
  for package in apt/cache/archives/*.deb; do dpkg-deb --extract "$package" .; done
  rm -r apt
}
