#!/bin/sh
# Runs oplab with the given arguments, and starts it again at once when it was killed or has failed: the kubelet would
# wait longer before each restart, in the end five minutes. A process of a few hundred KiB, so that what makes an agent
# run out of memory is the agent.
main=${OPLAB_MAIN:-/opt/oplab/dist/main.mjs}
stopping= restarts=0 early=0
trap stopping=1 TERM INT

while :; do
  began=$(date +%s)
  OPLAB_AGENT_RESTARTS=$restarts node --disable-sigusr1 --enable-source-maps "$main" "$@" &
  child=$!
  while :; do
    if [ -z "$stopping" ]; then
      # A signal interrupts the wait.
      wait "$child"; code=$?
      kill -0 "$child" 2>/dev/null || break
    else
      # Again and again: what comes while the child is still a copy of this shell is lost.
      kill -TERM "$child" 2>/dev/null || { wait "$child"; code=$?; break; }
      sleep 0.2 & wait $!
    fi
  done
  # It has ended (0), the sandbox is not isolated (3), or the pod is being stopped.
  [ -n "$stopping" ] || [ "$code" = 0 ] || [ "$code" = 3 ] && exit "$code"

  restarts=$((restarts + 1))
  if [ $(($(date +%s) - began)) -lt 20 ]; then early=$((early + 1)); else early=0; fi
  # Longer than ten kills in a row: now the kubelet waits.
  [ "$early" -gt 12 ] && exit "$code"
  pause=$((early < 5 ? early / 2 : 3))
  echo "{\"level\":\"warn\",\"msg\":\"the agent ended with code $code and is started again in $pause s\",\"restarts\":$restarts}" >&2
  sleep "$pause" & wait $!
  [ -n "$stopping" ] && exit "$code"
done
