#!/usr/bin/env bash
set -eu
cd "$(dirname "$0")"
source lib/common.sh
source ./settings.conf
require greet
require colors

banner "Welcome"
for p in "${PEOPLE[@]}"; do greet "$p"; done
greet "sky" blue
NO_COLOR=1 greet "plain" red
bash ./child.sh "$GREETING"
