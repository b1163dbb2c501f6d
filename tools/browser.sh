#!/usr/bin/env bash
# Sees to a headless Chromium for the tests of pages: nothing where one is there, else from the system's packages
# (as root, with a time limit). It never fails: without a browser those tests are skipped and say why.
set -uo pipefail

for name in "${CHROME:-chromium}" chromium google-chrome google-chrome-stable chromium-browser; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "browser: no Chromium here, so pages are not tested (Debian: apt-get install chromium)"
    exit 0
fi
echo "browser: installing Chromium for the tests of pages"
export DEBIAN_FRONTEND=noninteractive
{
    timeout 120 apt-get update && timeout 300 apt-get install --yes --no-install-recommends chromium
} >/dev/null 2>&1 </dev/null || echo "browser: Chromium could not be installed, so pages are not tested"
exit 0
