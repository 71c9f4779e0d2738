#!/bin/sh
# Unpacks what the C++ runtime is compiled with into a folder: Debian's own packages, by Debian's own apt with its
# signatures checked, but without root and without installing anything. Elsewhere, install the packages' counterparts.
#
#   fetch_dependencies.sh FOLDER        then: cmake -DCMAKE_PREFIX_PATH=FOLDER/usr …
set -eu

FOLDER=$1
HERE="libjpeg62-turbo libjpeg62-turbo-dev libpng16-16 libpng-dev zlib1g-dev libssl3 libssl-dev nlohmann-json3-dev doctest-dev"
TRIXIE="libonnxruntime-dev" # headers only; Debian 12 has none, and the library itself is pip's

fail() {
  echo "error: $1" >&2
  exit 3
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "no apt here; install the development files of \
libjpeg-turbo, libpng, OpenSSL, nlohmann-json, doctest and ONNX Runtime, and run cmake yourself"
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$KEYS" ] || fail "$KEYS is missing; install debian-archive-keyring"
RELEASE=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The mirror that this machine uses already.
MIRROR=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  sed -n -E 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' | head -n 1)
MIRROR=${MIRROR:-http://deb.debian.org/debian}

mkdir -p "$FOLDER"
cd "$FOLDER"
ROOT=$PWD
mkdir -p apt/state/lists/partial apt/cache/archives/partial packages
for suite in "$RELEASE" trixie; do
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$MIRROR" "$suite" "$KEYS"
done >apt/mirror.sources

apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$ROOT/apt/mirror.sources" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State="$ROOT/apt/state" -o Dir::Cache="$ROOT/apt/cache" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root "$@"
}

apt update
PACKAGES=
for package in $HERE; do PACKAGES="$PACKAGES $package/$RELEASE"; done
cd packages
apt download $PACKAGES "$TRIXIE/trixie"
cd ..
for package in packages/*.deb; do dpkg-deb --extract "$package" .; done
rm -r apt packages
