# Waits for what another part of it makes, and goes on.
(sleep 1; echo ready > flag) &
until [ -f flag ]; do sleep 0.1; done
cat flag
