#!/bin/bash
# nanoidp keeps its signing keys beside its configuration: that goes to a volume, the configuration is taken anew at each start.
set -euo pipefail
cd /var/lib/nanoidp
cp /etc/nanoidp/*.yaml .
exec /opt/nanoidp/bin/nanoidp --config "$PWD" --strict-config
