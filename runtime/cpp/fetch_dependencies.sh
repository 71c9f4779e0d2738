#!/bin/sh
# Unpacks what the C++ runtime is compiled with into a folder: Debian's own packages (unpack_debian.sh). Elsewhere,
# install the packages' counterparts.
#
#   fetch_dependencies.sh FOLDER        then: cmake -DCMAKE_PREFIX_PATH=FOLDER/usr …
set -eu
. "$(dirname "$0")/unpack_debian.sh"

TRIXIE="libonnxruntime-dev" # headers only; Debian 12 has none, and the library itself is pip's

require_apt "install the development files of libjpeg-turbo, libpng, OpenSSL, nlohmann-json, doctest and ONNX Runtime, \
and run cmake yourself"
RELEASE=$(. /etc/os-release && echo "$VERSION_CODENAME")
PACKAGES="$TRIXIE/trixie"
for package in libjpeg62-turbo libjpeg62-turbo-dev libpng16-16 libpng-dev zlib1g-dev libssl3 libssl-dev \
  nlohmann-json3-dev doctest-dev; do
  PACKAGES="$PACKAGES $package/$RELEASE"
done
unpack "$1" "$RELEASE trixie" $PACKAGES
