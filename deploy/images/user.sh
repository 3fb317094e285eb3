#!/bin/bash
# The user of the services, the same in every image: a number, so that volumes fit.
set -euo pipefail
groupadd --gid 10001 pact
useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pact
