#!/bin/sh
TZ=UTC LC_ALL=C
export TZ LC_ALL

days_between() {
    a=$(date -d "$1" +%s)
    b=$(date -d "$2" +%s)
    echo $(((b - a) / 86400))
}
is_leap() { [ $(($1 % 4)) -eq 0 ] && { [ $(($1 % 100)) -ne 0 ] || [ $(($1 % 400)) -eq 0 ]; }; }

echo "2024-01-01 .. 2024-12-25: $(days_between 2024-01-01 2024-12-25) days"
date -d '2024-02-28 +1 day' +%F
date -d '2023-02-28 +1 day' '+%A, %d %B %Y'
date -d @86400 -u +%Y-%m-%dT%H:%M:%SZ
for y in 1900 2000 2023 2024; do
    if is_leap "$y"; then echo "$y leap"; else echo "$y"; fi
done
echo "payment dates:"
m=1
while [ $m -le 4 ]; do
    day=$(date -d "2024-$(printf %02d $m)-01 +1 month -1 day" '+%F %u')
    wd=${day#* } day=${day% *}
    case $wd in
        6) day=$(date -d "$day -1 day" +%F) ;;
        7) day=$(date -d "$day -2 days" +%F) ;;
    esac
    echo "  $day $(date -d "$day" +%a) (week $(date -d "$day" +%V))"
    m=$((m + 1))
done
if ! date -d 'not a date' >/dev/null 2>&1; then echo "invalid date detected"; fi
