#!/bin/sh
# What a container runs first: with root's rights it makes the volume ours and drops them, then it becomes what it was asked for.
# `command:` and scripts for RabbitMQ's image work: rabbitmq-server, rabbitmqctl ..., bash -c "rabbitmq-plugins enable ...; rabbitmq-server".
set -eu

self=/usr/local/bin/docker-entrypoint.sh
data=/var/lib/rabbitmq

# Scripts that RabbitMQ's image would run with root's rights find this one as rabbitmq-server: the broker itself never has them.
case "$0" in
    */rabbitmq-server) set -- rabbitmq-server "$@" ;;
esac
case "${1:-}" in
    '') set -- rabbitmq-server ;;
    -*) set -- leveret serve "$@" ;;
esac

case "$1" in
    rabbitmq* | leveret)
        if [ "$(id -u)" = 0 ]; then
            # What is in a volume may be root's, or another image's user's. Links aren't followed out of it.
            if [ "$1" = rabbitmq-server ] || [ "${2:-}" = serve ]; then
                find "$data" /var/log/rabbitmq ! -user rabbitmq -exec chown --no-dereference rabbitmq:rabbitmq {} +
            fi
            exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$self" "$@"
        fi
        ;;
esac

host=$(uname -n)
case "$host" in
    *.*) : "${RABBITMQ_USE_LONGNAME:=true}" ;;
esac
[ -z "${RABBITMQ_USE_LONGNAME:-}" ] || export RABBITMQ_USE_LONGNAME

# Where RabbitMQ has it, for scripts that say `rabbitmqctl wait $RABBITMQ_PID_FILE` or name it.
if [ -z "${RABBITMQ_PID_FILE:-}" ] && mkdir -p "$data/mnesia" 2>/dev/null && [ -w "$data/mnesia" ]; then
    [ "${RABBITMQ_USE_LONGNAME:-}" = true ] || host=${host%%.*}
    node=${RABBITMQ_NODENAME:-rabbit}
    case "$node" in
        *@*) ;;
        *) node=$node@$host ;;
    esac
    export RABBITMQ_PID_FILE="$data/mnesia/$node.pid"
fi

if [ "$1" = rabbitmq-server ]; then
    shift
    exec /usr/local/bin/rabbitmq-server "$@"
fi
exec "$@"
