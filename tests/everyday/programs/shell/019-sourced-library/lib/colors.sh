source "${BASH_SOURCE[0]%/*}/common.sh"
declare -gA COLORS=([red]=31 [green]=32 [blue]=34)
paint() {
  local c=$1; shift
  if [[ -n ${NO_COLOR:-} ]]; then echo "$*"; else printf '\e[%sm%s\e[0m\n' "${COLORS[$c]:?unknown color}" "$*"; fi
}
