#!/bin/sh
# Unpacks a Chromium without a window, and the libraries that it misses here, into a folder: Debian's own packages, by
# Debian's own apt with its signatures checked, but without root and without installing anything.
#
#   fetch_chromium.sh FOLDER        then: FOLDER/chromium --screenshot=page.png page.html
set -eu

FOLDER=$1
PACKAGES="chromium-headless-shell fonts-dejavu-core fontconfig-config"

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
  echo "error: no apt here; the browser tests need a Chromium: set CHROMIUM to its path" >&2
  exit 3
}

mkdir -p "$FOLDER"
cd "$FOLDER"
ROOT=$PWD
mkdir -p apt/lists/partial apt/cache/archives/partial

apt() {
  apt-get -qq -o Dir::State::lists="$ROOT/apt/lists" -o Dir::Cache="$ROOT/apt/cache" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root "$@"
}

apt update
apt install --download-only --no-install-recommends --reinstall --yes $PACKAGES
for package in apt/cache/archives/*.deb; do dpkg-deb --extract "$package" .; done
rm -r apt
cat >fonts.conf <<CONF
<?xml version="1.0"?>
<fontconfig><dir>$ROOT/usr/share/fonts</dir><cachedir>$ROOT/fonts</cachedir></fontconfig>
CONF
SHELL_BINARY=$(find "$ROOT/usr/lib" -name 'chromium-headless-shell' -type f -perm -u+x | head -n 1)
LIBRARIES=$ROOT/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || uname -m | sed 's/$/-linux-gnu/')
cat >chromium <<RUN
#!/bin/sh
export LD_LIBRARY_PATH="$LIBRARIES:$LIBRARIES/pulseaudio" FONTCONFIG_FILE="$ROOT/fonts.conf"
exec "$SHELL_BINARY" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "\$@"
RUN
chmod +x chromium
