#!/bin/sh
set -eu

load_env() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            ''|'#'*) continue ;;
            *=*) ;;
            *) echo "skipping: $line" >&2; continue ;;
        esac
        key=${line%%=*}
        value=${line#*=}
        case $key in *[!A-Za-z0-9_]*|[0-9]*) echo "bad key: $key"; continue ;; esac
        # strip one pair of quotes
        case $value in
            \"*\") value=${value#\"}; value=${value%\"} ;;
            \'*\') value=${value#\'}; value=${value%\'} ;;
        esac
        eval "is_set=\${$key+yes}"
        if [ "${is_set:-}" = yes ]; then
            echo "$key is already set, kept"
            continue
        fi
        export "$key=$value"
    done < "$1"
}

load_env "${1:-app.env}"
echo "DEMO_HOST=$DEMO_HOST"
echo "DEMO_TITLE=[$DEMO_TITLE]"
echo "DEMO_RAW=[$DEMO_RAW]"
echo "DEMO_MODE=$DEMO_MODE"
echo "DEMO_LAST=$DEMO_LAST"
sh -c 'echo "a child sees $DEMO_HOST and ${DEMO_EMPTY:-nothing}"'
env | grep -c '^DEMO_'
