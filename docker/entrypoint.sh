#!/bin/sh
# What a container runs first: with root's rights it makes the volume ours and drops them, then it goes on as what it was asked for.
# `command:` and scripts of RabbitMQ's image work: rabbitmq-server, rabbitmqctl ..., bash -c "rabbitmq-plugins enable ...; rabbitmq-server".
set -eu

# Options alone are the server's.
case "${1:-}" in
    '' | -*) set -- rabbitmq-server "$@" ;;
esac

case "$1" in
    rabbitmq* | leveret)
        if [ "$(id -u)" = 0 ]; then
            # What a volume brings may be root's, or another image's user's. Links are not followed out of it.
            find /var/lib/rabbitmq /var/log/rabbitmq ! -user rabbitmq -exec chown --no-dereference rabbitmq:rabbitmq {} +
            exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
        fi
        ;;
esac

host=$(uname -n)
case "$host" in
    *.*) : "${RABBITMQ_USE_LONGNAME:=true}" ;;
esac
# Where RabbitMQ has it, for `rabbitmqctl wait FILE`.
node=${RABBITMQ_NODENAME:-rabbit@${host%%.*}}
: "${RABBITMQ_PID_FILE:=/var/lib/rabbitmq/mnesia/$node.pid}"
export RABBITMQ_PID_FILE
[ -z "${RABBITMQ_USE_LONGNAME:-}" ] || export RABBITMQ_USE_LONGNAME

exec "$@"
