#!/bin/sh
# Unpacks a Chromium without a window, and the libraries that it misses here, into a folder
# (runtime/cpp/unpack_debian.sh).
#
#   fetch_chromium.sh FOLDER        then: FOLDER/chromium --screenshot=page.png page.html
set -eu
. "$(dirname "$0")/../../runtime/cpp/unpack_debian.sh"

require_apt "the browser tests need a Chromium: set CHROMIUM to its path"
unpack_missing "$1" chromium-headless-shell fonts-dejavu-core fontconfig-config
cd "$1"
ROOT=$PWD
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
