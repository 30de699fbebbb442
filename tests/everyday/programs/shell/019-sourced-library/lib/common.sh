[[ -n ${_COMMON_LOADED:-} ]] && return
_COMMON_LOADED=1
LIB_DIR=${BASH_SOURCE[0]%/*}
echo "(common loaded)"
require() { source "$LIB_DIR/$1.sh"; }
banner() { local line; printf -v line '%*s' $((${#1} + 4)) ''; echo "${line// /*}"; echo "* $1 *"; echo "${line// /*}"; }
