#!/usr/bin/env bash
source lib/common.sh
echo "child got: $1, GREETING is ${GREETING:-not exported}"
