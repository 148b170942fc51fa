#!/bin/sh
# Installs what building and testing escriba needs, and nothing that is there already.
# Debian and Ubuntu by apt (as root or through sudo), macOS by Homebrew.
set -eu

debian="gcc pkg-config meson ninja-build python3 openssl libjansson-dev libpcre2-dev libutf8proc-dev libjpeg-dev libpng-dev
libwebp-dev libcurl4-openssl-dev libmicrohttpd-dev libcmocka-dev libsqlite3-dev libavformat-dev libavcodec-dev libavutil-dev
libswscale-dev"
brew="meson ninja pkg-config jansson pcre2 utf8proc jpeg-turbo libpng webp curl libmicrohttpd cmocka sqlite ffmpeg"

say() { echo "setup: $*" >&2; }

install_debian() {
    missing=""
    for package in $debian; do
        # A virtual package (libjpeg-dev) counts as installed when something that provides it is.
        if ! dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed'; then
            missing="$missing $package"
        fi
    done
    [ -z "$missing" ] && return 0
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { say "needs root or sudo to install:$missing"; exit 1; }
        sudo=sudo
    fi
    say "installing$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

install_brew() {
    missing=""
    for package in $brew; do
        brew list --versions "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    say "installing$missing"
    # shellcheck disable=SC2086
    brew install --quiet $missing
}

if command -v apt-get >/dev/null; then
    install_debian
elif command -v brew >/dev/null; then
    install_brew
else
    say "knows apt and Homebrew only. Install these by hand, then run make build:"
    echo "$debian" >&2
    exit 1
fi
