#!/bin/sh
# A consistent copy of a running broker's log: backup.sh DATA DIRECTORY. Prints where it is.
#
# DATA is the server's `dir`. It needs no connection: of Redis 7 the manifest names the files that belong together, so a copy during
# which it stayed the same is whole; of Redis 6 the log is one file. Its last write may be torn, which `aof-load-truncated` allows.
# To restore: server stopped, put the copied appendonlydir (or appendonly.aof) into DATA, start it.
set -eu

[ $# -eq 2 ] || { echo "usage: backup.sh DATA DIRECTORY" >&2; exit 2; }
data=$1 target="$2/$(date -u +%Y%m%dT%H%M%SZ)"
umask 077
log=appendonlydir
[ -d "$data/$log" ] || log=appendonly.aof
[ -e "$data/$log" ] || { echo "backup.sh: no append-only log in $data: is it the server's dir, and appendonly on?" >&2; exit 1; }

manifest() { cat "$data/$log"/*.manifest 2>/dev/null || true; }

for _ in 1 2 3 4 5; do
    rm -rf "$target.part"
    mkdir -p "$target.part"
    before=$(manifest)
    # A rewrite that ends meanwhile removes files under the copy: then once more.
    if cp -R "$data/$log" "$target.part/" 2>/dev/null && [ "$(manifest)" = "$before" ]; then
        sync "$target.part"
        mv "$target.part" "$target"
        echo "$target"
        exit 0
    fi
done
rm -rf "$target.part"
echo "backup.sh: the log was rewritten during each of five copies: try again when less is written" >&2
exit 1
