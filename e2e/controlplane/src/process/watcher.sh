# Reads what its owner holds, one line each, and destroys all of it when the owner's end of the pipe closes: that happens
# however the owner ends, SIGKILL included. "hold-group PGID", "drop-group PGID", "hold-folder PATH", "drop-folder PATH".
trap '' HUP INT QUIT TERM TSTP PIPE
cd /
groups=
set --
while IFS= read -r line; do
    value=${line#* }
    case $line in
    'hold-group '*) groups="$groups $value" ;;
    'drop-group '*)
        kept=
        for group in $groups; do [ "$group" = "$value" ] || kept="$kept $group"; done
        groups=$kept
        ;;
    'hold-folder '*) set -- "$@" "$value" ;;
    'drop-folder '*)
        left=$#
        while [ "$left" -gt 0 ]; do
            [ "$1" = "$value" ] || set -- "$@" "$1"
            shift
            left=$((left - 1))
        done
        ;;
    esac
done
for group in $groups; do kill -KILL "-$group"; done
# A killed process may finish one last system call, so a folder can need a second attempt.
attempts=50
while [ "$attempts" -gt 0 ]; do
    again=
    for folder in "$@"; do rm -rf -- "$folder" || again=1; done
    [ -n "$again" ] || exit 0
    attempts=$((attempts - 1))
    sleep 0.1
done
exit 1
