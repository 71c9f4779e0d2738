#!/bin/sh
# Unpacks Debian's packages of Chinese, Japanese and Korean fonts into a folder (runtime/cpp/unpack_debian.sh). Of
# Debian 12 wherever this runs: faces.txt has their hashes.
#
#   fetch_fonts.sh FOLDER
set -eu
HERE=$(dirname "$0")
. "$HERE/../../runtime/cpp/unpack_debian.sh"

PACKAGES=$(awk '$1 != "#" { print $2 }' "$HERE/faces.txt" | sort -u)
require_apt "unpack these of Debian 12: $PACKAGES"
unpack "$1" bookworm $PACKAGES
