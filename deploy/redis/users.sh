#!/bin/sh
# Prints the ACL file of a server: one user a role, with no more keys, channels and commands than that role uses.
#
#   users.sh broker > /run/redis/users.acl     for broker.conf and sentinel.conf
#   users.sh cache  > /run/redis/users.acl     for cache.conf
#
# Passwords come from REDIS_<USER>_PASSWORD in the environment; only their SHA-256 goes into the file. An unset one is an error:
# a user without a password is worse than no user. Redis 7 or newer (`%R~`, subcommands).
# A fleet with HEADRACE_TASK_QUEUES names its own queues in HEADRACE_ACL_QUEUES, separated by blanks.
set -eu

hash() {
    eval "password=\${REDIS_$1_PASSWORD:?set REDIS_$1_PASSWORD: it is a user of the ACL file}"
    printf '#%s' "$(printf %s "$password" | sha256sum | cut -d' ' -f1)"
}

user() { # NAME, then rules; the password is that of NAME in capitals
    name=$1
    shift
    secret=$(hash "$(printf %s "$name" | tr '[:lower:]' '[:upper:]')")
    echo "user $name on $secret resetkeys resetchannels -@all $*"
}

# What any client says when it connects. (`+client|setinfo` alone would do, but Redis 7.0 does not know it and would not start.)
hello="+ping +hello +select +client -client|kill -client|list -client|pause -client|unpause -client|no-evict"

# Whoever needs to know only whether the server is up; LOADING while it reads its log.
echo "user probe on nopass resetkeys resetchannels -@all +ping"
# Nobody can be this user, but Redis is: it reads its log back with these rights, and what they do not allow inside of a
# MULTI it leaves out without a word. Without them a restart loses messages.
echo "user default off resetpass ~* &* +@all"

if [ "${1:-}" = cache ]; then
    user cache '~*' '&*' +@all -@admin -@dangerous +info
    user exporter $hello +info +time '+config|get'
    user operator '~*' '&*' +@all -@admin -@dangerous +info '+config|get'
    exit
fi
[ "${1:-}" = broker ] || { echo "usage: users.sh broker|cache" >&2; exit 2; }

read_queues="" write_queues="" queues=""
for queue in messages webhooks maintenance replies deliveries ${HEADRACE_ACL_QUEUES:-}; do
    queues="$queues ~$queue*" # its lanes, and kombu's lists of lesser priority
    read_queues="$read_queues %R~$queue*"
    write_queues="$write_queues %W~$queue*"
done

# Data of every kind, scripts and hints; nothing that asks or changes the server itself.
data="+@list +@hash +@set +@sortedset +@string +@scripting +@pubsub +@transaction +time +wait +del +unlink +exists +expire +pexpire +scan"
data="$data -@dangerous -@admin -script|flush -script|kill -function"

# The edge appends and counts; it cannot read a message.
user ingress $write_queues '%R~headrace:held' '%R~headrace:lanes' '&headrace:wake' \
    $hello +lpush +llen +hgetall +get +publish +time +wait +multi +exec
# Workers: queues, their own bookkeeping, Celery's remote control and events.
user worker $queues '~headrace:*' '~_kombu.binding*' '~*.celery.pidbox*' '~celeryev.*' \
    '&headrace:wake' '&/0.celery.pidbox' '&/0.celeryev/*' $hello $data
# The scheduler: marks a tick as sent and appends it, by one script.
user beat '%W~maintenance*' '~headrace:ticks:*' '&headrace:wake' \
    $hello +eval +evalsha +time +hget +hset +lpush +publish
# The exporter looks and changes nothing.
user exporter $read_queues '%R~headrace:*' $hello +@read -@dangerous +time +info '+config|get'
# Flower: remote control, its answers, and the lengths of queues. Its replies come by claims, so it writes bookkeeping.
user flower $read_queues '~headrace:*' '~_kombu.binding*' '~*.celery.pidbox*' '~celeryev.*' \
    '&headrace:wake' '&/0.celery.pidbox' '&/0.celeryev/*' $hello $data +info
# Producers, plain Celery's and ours, which also wake idle workers: append to `messages` and its lanes.
user producer '%W~messages*' '~_kombu.binding*' '&headrace:wake' \
    $hello +lpush +llen +sadd +smembers +publish +multi +exec
# The command line: `headrace check|doctor|status|queue|dlq|broker`.
user operator '~*' '&*' $hello $data +info '+config|get' +type +keys +role
# Redis's own: replicas follow, Sentinels watch and promote.
user replica +psync +replconf +ping
user sentinel '&*' +multi +slaveof +ping +exec +subscribe '+config|rewrite' +role +publish +info '+client|setname' '+client|kill' '+script|kill'
