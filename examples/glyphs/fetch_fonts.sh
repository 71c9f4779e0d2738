#!/bin/sh
# Unpacks Debian's packages of Chinese, Japanese and Korean fonts into a folder: by Debian's own apt with its signatures
# checked, but without root and without installing anything. Of Debian 12 wherever this runs: faces.txt has their hashes.
#
#   fetch_fonts.sh FOLDER
set -eu

FOLDER=$1
RELEASE=bookworm
HERE=$(cd "$(dirname "$0")" && pwd)
PACKAGES=$(awk '$1 != "#" { print $2 }' "$HERE/faces.txt" | sort -u)

fail() {
  echo "error: $1" >&2
  exit 3
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "no apt here; unpack these of Debian 12: $PACKAGES"
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$KEYS" ] || fail "$KEYS is missing; install debian-archive-keyring"
# The mirror that this machine uses already.
MIRROR=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  sed -n -E 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' | head -n 1)
MIRROR=${MIRROR:-http://deb.debian.org/debian}

mkdir -p "$FOLDER"
cd "$FOLDER"
ROOT=$PWD
mkdir -p apt/state/lists/partial apt/cache/archives/partial packages
printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$MIRROR" "$RELEASE" "$KEYS" >apt/mirror.sources

apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$ROOT/apt/mirror.sources" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State="$ROOT/apt/state" -o Dir::Cache="$ROOT/apt/cache" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root "$@"
}

apt update
cd packages
apt download $PACKAGES
cd ..
for package in packages/*.deb; do dpkg-deb --extract "$package" .; done
rm -r apt packages
