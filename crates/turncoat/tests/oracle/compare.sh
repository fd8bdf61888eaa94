#!/bin/sh
# Builds the default package set twice, once by dpkg itself (mmdebstrap, as root) and once by us, and compares the trees.
#
#   compare.sh TURNCOAT-IMAGE WORKDIR [EXTRA-PACKAGE]...
#
# Needs root, mmdebstrap, python3 and the host's own package sources; takes about two minutes and 1 GB in WORKDIR.
set -eu
here=$(dirname "$(readlink -f "$0")")
program=$1
work=$2
shift 2
mkdir -p "$work"
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
export TURNCOAT_DATA="$work/data"
added=
for package in "$@"; do added="$added +$package"; done
# shellcheck disable=SC2086
"$program" build $added
"$program" export default "$work/ours"
packages=$(awk '$1 == "Package:" {print $2}' "$work/ours/var/lib/dpkg/status" | paste -sd,)
mmdebstrap --variant=custom --include="$packages" "$suite" "$work/native" /etc/apt/sources.list.d/*.sources
python3 "$here/compare-trees.py" "$work/native" "$work/ours" "$here/excuses.txt"
