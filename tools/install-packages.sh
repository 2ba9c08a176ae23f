#!/bin/sh
# install-packages.sh [LIST]: install the Debian packages of a list (tools/packages.txt) that are missing. Needs root or
# sudo only if something is missing.
set -eu
list=${1:-$(cd "$(dirname "$0")" && pwd)/packages.txt}

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "install-packages: no apt here; install the counterparts of these packages yourself:" >&2
    grep -v '^#' "$list" >&2
    exit 1
fi

missing=
while read -r package _; do
    case $package in
    '' | '#'*) continue ;;
    esac
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done < "$list"
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || {
        echo "install-packages: run as root or install sudo; missing:$missing" >&2
        exit 1
    }
    sudo=sudo
fi
echo "installing:$missing"
# shellcheck disable=SC2086 # a list of names
if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
    ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing > /dev/null; then
    echo "install-packages: apt could not install them (its messages are above). Is there a network? Install them yourself:" \
        "apt-get install$missing" >&2
    exit 1
fi
